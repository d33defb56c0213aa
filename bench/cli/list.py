"""`bench list`: which tables, models and data are here, and what to do for the others; `bench list axes`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bench import paths
from bench.cli.as_json import AsJson, print_json
from bench.cli.axes import print_axes
from bench.cli.published import print_published
from bench.data import open_instances
from bench.data.catalog import BOX_SETS, FOLDER_SETS, INSTANCE_SETS, SALIENT, set_names
from bench.data.salient import open_salient
from models import checkpoints, row_cards, zoo
from models.errors import BenchError, printable, refused
from models.packaged import packaged_weights
from models.specs import PREFIXES
from models.vitdet import cascades
from protocols import tables
from protocols.axes import PRESETS
from protocols.defaults import of
from protocols.paper import paper_table
from protocols.registry import registry_of
from protocols.saved_predictions import recorded_models

WIDTH = 120
"""Columns where the output is no terminal."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: a table, a model or a data set."""

    group: str
    name: str
    what: str
    here: bool
    """Whether it can be used now."""
    file: str = ""
    """The missing file and its size."""
    missing: str = ""
    """How to get what is missing."""
    recorded: bool = False
    """Of a model that is not here: whether tables have what it answered when it was trained."""


def list_all(
    what: Annotated[Literal["everything", "axes", "published"], tyro.conf.Positional] = "everything",
    as_json: AsJson = False,
) -> None:
    """Say which tables, models and data are here, and for each missing file its name, size and the way to get it.

    Models of others need no line here: names like hf:ID_OR_FOLDER, whose forms the last lines tell, are taken wherever
    the name of a promptable model is.

    Args:
        what: axes: every choice that published evaluators make differently instead, with its meaning, its values, and
            which preset sets what. published: numbers that others published, and by which protocol.
        as_json: Print the same as JSON.
    """
    if what == "axes":
        print_axes(_console(), as_json=as_json)
        return
    if what == "published":
        print_published(_console(), as_json=as_json)
        return
    entries = [*_models(), *_cascades(), *_data_sets()]
    entries = [*_tables(entries), *entries]
    if as_json:
        print_json(entries)
        return
    console = _console()
    for group in dict.fromkeys(entry.group for entry in entries):
        _print_group(console, group, [entry for entry in entries if entry.group == group])
    _say(console, f"presets: {', '.join(PRESETS)} (`bench run table4 --preset NAME`)")
    _say(console, "axes: `bench list axes` (`bench run table4 --axis mask_pick=single`)")
    for prefix in PREFIXES.values():
        _say(console, f"any other model: {prefix.form}, {prefix.what}")
    for line in (f"weights folder: {checkpoints.weights_root()}", *zoo.broken_plugins()):
        _say(console, line)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(file=console.file, width=max(WIDTH, console.width))


def _print_group(console: Console, group: str, entries: list[Entry]) -> None:
    """Print what is here on one line, and a line for each of the others; of tables a line each."""
    _say(console, group, "bold")
    if group == "tables":
        _print_lines(console, [(entry.name, entry.what, entry.missing) for entry in entries])
        return
    here = ", ".join(entry.name + (f" ({entry.what})" if entry.what else "") for entry in entries if entry.here)
    if here:
        console.print(Padding(Text.assemble(("here: ", "green"), printable(here)), (0, 2)), highlight=False)
    recorded = ", ".join(entry.name for entry in entries if entry.recorded)
    if recorded:
        how = "tables rest on answers kept from their training; `bench train NAME` makes the weights"
        console.print(Padding(Text.assemble(("recorded: ", "green"), f"{printable(recorded)}: {how}"), (0, 2)))
    absent = [entry for entry in entries if not entry.here and not entry.recorded]
    if len({entry.missing for entry in absent}) == 1 < len(absent):
        _say(console, f"  missing: {', '.join(entry.name for entry in absent)}: {absent[0].missing}")
        return
    names = [entry.name + (f" ({entry.what})" if entry.what else "") for entry in absent]
    _print_lines(console, [(name, entry.file, entry.missing) for name, entry in zip(names, absent, strict=True)])


def _print_lines(console: Console, lines: list[tuple[str, str, str]]) -> None:
    """Print lines of three columns; the middle one is cut where they do not fit, so that commands stay whole."""
    first, second, third = (max((len(line[k]) for line in lines), default=0) for k in range(3))
    second = max(20, min(second, console.width - first - third - 6))
    for name, middle, last in lines:
        cut = middle if len(middle) <= second else f"{middle[: second - 1]}…"
        _say(console, f"  {name:{first}}  {cut:{second}}  {last}".rstrip())


def _say(console: Console, line: str, style: str = "") -> None:
    """Print a line whose names are text and no markup."""
    console.print(Text(printable(line), style), soft_wrap=True, highlight=False)


def _tables(entries: list[Entry]) -> Iterator[Entry]:
    """Yield a line for each table: what it can be made of here."""
    here = {entry.name for entry in entries if entry.here}
    recorded = {entry.name for entry in entries if entry.recorded}
    for name in tables.names():
        try:
            table = tables.find(name)
        except BenchError as error:
            yield Entry("tables", name, "", here=False, missing=str(error))
            continue
        state = (
            of(table, "state")() if hasattr(table, "make") else _state(table, here, recorded & recorded_models(name))
        )
        yield Entry("tables", name, table.TITLE, here=True, missing=state)


def _state(table: ModuleType, here: set[str], recorded: set[str]) -> str:
    """Say at which scale a table can be made here, and from how many of its models, or of what these answered."""
    labels = set(paper_table(table.NAME).index)
    counts = {}
    for scale in ("micro", "paper"):
        cards = [card for card in registry_of(table).cards() if card.scale == scale and card.paper_row in labels]
        models = {card.paper_row: card.name in here | recorded for card in cards if card.released}
        counts[scale] = f"{sum(models.values())} of {len(models)}" if models else "no public"
    missing = [name for name in table.DATA_SETS if name not in here]
    without = f", without {' and '.join(missing)}" if missing else ""
    return f"micro: {counts['micro']} models; paper: {counts['paper']}{without}"


def _models() -> Iterator[Entry]:
    """Yield a line for each model that weights exist for."""
    seen: set[str] = set()
    listed: set[str] = set()  # a registry may hold another's models beside its own
    for name in tables.names():
        with suppress(BenchError):
            table = tables.find(name)
            if hasattr(table, "make") or table.CARDS in seen:
                continue
            seen.add(table.CARDS)
            registry = registry_of(table)
            of_tables = [other for other in map(_found, tables.names()) if getattr(other, "CARDS", "") == table.CARDS]
            group = f"{table.MODELS}s ({', '.join(other.NAME for other in of_tables)})"
            recorded = {name for other in of_tables for name in recorded_models(other.NAME)}
            own = [card for card in registry.cards() if card.name not in listed]
            listed |= {card.name for card in own}
            for card in own:
                if card.released and card.scale != "any":
                    entry = _entry(group, card, partial(_available, registry))
                    yield replace(entry, recorded=not entry.here and card.name in recorded)
            for bound in [card for card in own if card.scale == "any"]:
                yield Entry(group, bound.name, "", here=True)


def _available(registry: Any, card: Any) -> tuple[bool, str]:
    found: tuple[bool, str] = registry.available(card.name)
    return found


def _found(name: str) -> Any:
    with suppress(BenchError):
        return tables.find(name)


def _cascades() -> Iterator[Entry]:
    """Yield a line for each published detector that `bench detect` writes Table 5's boxes with."""
    for card in cascades.CASCADES:
        yield _entry("detectors of Table 5's boxes (`bench detect`)", card, row_cards.available)


def _entry(group: str, card: Any, available: Callable[[Any], tuple[bool, str]]) -> Entry:
    """Return the line of a model; whatever is wrong with one costs its own line."""
    try:
        usable, why = available(card)
    except BenchError as error:
        usable, why = False, str(error)
    except OSError as error:
        usable, why = False, str(refused(error))
    row = ", ".join(
        filter(None, (card.paper_row if card.paper_row != card.name else "", getattr(card, "data", "").upper()))
    )
    if usable:
        return Entry(group, card.name, row, here=True)
    return Entry(group, card.name, row, here=False, file=_file(card), missing=_way_to_get(card) or why)


def _file(card: Any) -> str:
    """Return the name and size of a model's file."""
    name = Path(card.filename).name if card.filename else ""
    size = getattr(card, "bytes", None)
    return f"{name}, {size / 1e6:,.0f} MB" if size else name


def _way_to_get(card: Any) -> str:
    """Return what makes a model usable here, empty if its file is here and something is wrong with it."""
    requires = getattr(card, "requires", None)
    if requires is not None and importlib.util.find_spec(requires[0]) is None:
        return f'pip install "{requires[1]}"'
    with suppress(OSError):
        file = card.filename or ""
        path = packaged_weights(card.name) if card.scale == "micro" else checkpoints.weights_root() / file
        if file and os.path.lexists(path):
            return ""
    if card.scale == "micro":
        return f"bench train {card.name}"
    return f"bench weights fetch {card.name}"


def _data_sets() -> Iterator[Entry]:
    """Yield a line for each data set."""
    yield Entry("data", "dead leaves", "micro scale, drawn on first use", here=True)
    root = paths.data_root()
    sizes = {name: f"{one.n_images:,} images" for name, one in (INSTANCE_SETS | FOLDER_SETS).items()}
    for name in set_names():
        if root is None:
            yield Entry("data", name, "", False, sizes.get(name, ""), "set BENCH_DATA to the folder of all data sets")
            continue
        try:
            found = _look(name, root)
        except BenchError as error:
            yield Entry("data", name, "", False, sizes.get(name, ""), str(error))
        except OSError as error:
            yield Entry("data", name, "", False, sizes.get(name, ""), str(refused(error, root)))
        else:
            yield Entry("data", name, found, here=True)


def _look(name: str, root: Path) -> str:
    """Say what is there of a data set.

    Raises:
        BenchError: if it is not there, or cannot be used.
    """
    if name in INSTANCE_SETS:
        found = open_instances(name, root)
        return f"{len(found.images):,} images, {found.n_annotations:,} annotations in {root}"
    if name in BOX_SETS:
        path = root / BOX_SETS[name].file
        if not path.is_file():
            raise BenchError(BOX_SETS[name].download.sentence(root))
        return f"{path.stat().st_size / 1e6:,.0f} MB"
    if name == SALIENT:
        photos = open_salient(root)
        return f"{len(photos):,} photos in {photos.paths[0].parent}"
    folder = root / FOLDER_SETS[name].pattern.partition("*")[0].rpartition("/")[0]
    if not folder.is_dir():
        raise BenchError(f"{FOLDER_SETS[name].how} {root / name}")
    return f"in {folder}"
