"""`bench list` and `bench runs`: what can be run here, what cannot and why, and what was run."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import paths, store
from bench.cli.makers import MAKERS
from bench.data import open_instances
from bench.data.catalog import INSTANCE_SETS
from models import checkpoints, row_cards, zoo
from models.classifier import cards as classifiers
from models.errors import BenchError, printable, refused
from models.mask2former import cards as segmentation_models
from models.vitdet import cards as detectors
from models.vitdet import cascades as box_detectors
from protocols.axes import PRESETS
from protocols.tables import PAPER_ROWS


def list_all() -> None:
    """Say which tables, models and data sets can be run here, and what is missing for the others."""
    console = Console()
    console.print("[bold]tables[/]")
    for name, maker in MAKERS.items():
        console.print(f"  {name:9}  {maker.title}: `bench run {name}`", highlight=False, soft_wrap=True, markup=False)
    console.print(f"[bold]presets[/]\n  {', '.join(PRESETS)}", highlight=False)
    console.print(_models())
    for line in zoo.broken_plugins():
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    console.print(_of_rows("classifier", classifiers))
    console.print(_of_rows("detector", detectors))
    console.print(_cascades())
    console.print(_segmentation_models())
    console.print("[bold]data sets[/]")
    for line in _data_sets():
        console.print(f"  {printable(line)}", highlight=False, soft_wrap=True, markup=False)


def _usable(ask: Callable[[str], tuple[bool, str]], name: str) -> tuple[bool, str]:
    """Return whether a model can be used here, and if not, why; whatever is wrong with one costs its own line."""
    try:
        return ask(name)
    except BenchError as error:
        return False, str(error)
    except OSError as error:
        return False, str(refused(error))


def _add(table: Table, name: str, stands_for: str, usable: bool, why: str) -> None:
    """Add a line; names and reasons hold what others wrote, which is text and no markup."""
    here = Text("yes", "green") if usable else Text("no")
    table.add_row(*(Text(printable(entry)) for entry in (name, stands_for)), here, Text(printable(why)))


def _models() -> Table:
    """Return a line for each model: what it stands for, whether it can run, and if not, how to get it."""
    rows = {row.full_size: row.label for table in PAPER_ROWS.values() for row in table}
    rows |= {row.micro: f"{row.label} (micro)" for table in PAPER_ROWS.values() for row in table}
    table = Table("model", "stands for", "here", "what is missing", box=None, title_justify="left")
    table.title = "[bold]models[/]"
    for name in zoo.names():
        usable, why = _usable(zoo.available, name)
        _add(table, name, rows.get(name, ""), usable, "" if usable else _way_to_get(name) or why)
    _add(table, "floor, ceiling", "frames of every table", True, "")
    return table


def _of_rows(kind: str, registry: Any) -> Table:
    """Return a line for each classifier of Table 1, or detector of Table 2, that weights exist for."""
    table = Table(kind, "stands for", "here", "what is missing", box=None, title_justify="left")
    table.title = f"[bold]{kind}s[/]"
    for card in (one for one in registry.CARDS if one.filename is not None):
        usable, why = _usable(registry.available, card.name)
        row = card.paper_row if card.scale == "paper" else f"{card.paper_row} (micro)"
        _add(table, card.name, row, usable, why)
    return table


def _cascades() -> Table:
    """Return a line for each published detector that `bench boxes` writes Table 5's boxes with."""
    table = Table("box detector", "of", "here", "what is missing", box=None, title_justify="left")
    table.title = "[bold]box detectors[/]"
    for card in box_detectors.CASCADES:
        usable, why = _usable(lambda _, card=card: row_cards.available(card), card.name)  # type: ignore[misc]
        _add(table, card.name, card.data.upper(), usable, why)
    return table


def _segmentation_models() -> Table:
    """Return a line for each model of Table 3 that weights exist or can be trained for."""
    table = Table("segmentation model", "stands for", "here", "what is missing", box=None, title_justify="left")
    table.title = "[bold]segmentation models[/]"
    for card in segmentation_models.CARDS:
        if card.filename is not None:
            usable, why = _usable(segmentation_models.available, card.name)
            _add(table, card.name, f"{card.paper_row} (micro)", usable, why)
    return table


def _way_to_get(name: str) -> str:
    """Return the command that makes a model usable here, empty if its file is here and something is wrong with it."""
    card = zoo.card(name)
    with suppress(OSError):
        path = checkpoints.checkpoint_path(card)
        if path is not None and os.path.lexists(path):
            return ""
    if card.requires is not None and importlib.util.find_spec(card.requires[0]) is None:
        return f'pip install "{card.requires[1]}"'
    if card.scale == "micro":
        return "nox -s train_micro"
    return f"bench weights fetch {name}" + (f" ({card.bytes / 1e6:,.0f} MB)" if card.bytes else "")


def _data_sets() -> list[str]:
    lines = ["dead leaves (micro scale): drawn on first use"]
    root = paths.data_root()
    if root is None:
        return [
            *lines,
            "coco, lvis: set BENCH_DATA to their folder; `bench data verify coco lvis` then checks it",
        ]
    for name in INSTANCE_SETS:
        try:
            found = open_instances(name, root)
            lines.append(f"{name}: {len(found.images):,} images, {found.n_annotations:,} annotations in {root}")
        except BenchError as error:
            lines.append(f"{name}: {error}")
        except OSError as error:
            lines.append(f"{name}: {refused(error, root)}")
    return lines


def list_runs() -> None:
    """List the runs of the store (./runs or $BENCH_RUNS), the newest first."""
    table = Table("run", "what", "shards", "size", "last write", box=None)
    for run in store.list_runs():
        what = " ".join(_named(run.identity.get(key)) for key in ("model", "data"))
        what = run.problem or f"{run.identity.get('protocol', '?')}: {what}"
        size, written = f"{run.bytes / 1e6:.1f} MB", f"{run.last_write:%Y-%m-%d %H:%M}"
        entries = (run.fingerprint, what, f"{run.done} of {run.shards}", size, written)
        table.add_row(*(Text(printable(entry)) for entry in entries))
    Console().print(table)


def _named(part: Any) -> str:
    """Return the name in a part of an identity, empty where another program wrote that."""
    return str(part.get("name", "")) if isinstance(part, dict) else ""
