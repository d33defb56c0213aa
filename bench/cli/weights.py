"""`bench weights`: which checkpoints are published, which are here, and whether they match the published hashes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cli.as_json import AsJson, print_json
from models import checkpoints, download, row_cards, specs, zoo
from models.cards import ModelCard
from models.errors import BenchError, printable, refused, unknown_name
from models.files.hashes import forget_hash
from models.row_cards import RowCard
from models.vitdet.cascades import CASCADES
from protocols import tables
from protocols.registry import registry_of

Card = ModelCard | RowCard


def list_weights(as_json: AsJson = False) -> None:
    """Print every model with its checkpoint, its licence and whether it can be loaded here.

    Args:
        as_json: Print them as JSON.
    """
    table = Table(box=None)
    for heading in ("model", "scale", "size", "licence", "here"):
        table.add_column(heading, no_wrap=True)
    table.add_column("checkpoint", overflow="fold")
    reasons, rows = [], []
    for card in _all():
        name, path = card.name, _path(card)
        try:
            (usable, why), found, size = _available(card), _is_file(path), _size(card, path)
        except OSError as error:  # a file or folder of others' costs its own line
            usable, why, found, size = False, str(refused(error)), True, ""
        here = Text("yes", "green") if usable else Text("no", "red" if found else "")
        texts = [Text(printable(entry)) for entry in (name, card.scale, size, card.licence)]
        table.add_row(*texts, here, Text(printable(path.name if path else "")))
        what = {"model": name, "scale": card.scale, "size": size, "licence": card.licence}
        rows.append({**what, "here": usable, "checkpoint": path and str(path), "why": why})
        reasons += [why] if found and not usable else []
    if as_json:
        print_json(rows)
        return
    console = Console()
    console.print(table)
    for line in (f"weights folder: {checkpoints.weights_root()}", *reasons, *zoo.broken_plugins()):
        console.print(printable(line), soft_wrap=True, highlight=False, markup=False)


def fetch_weights(names: tyro.conf.Positional[tuple[str, ...]]) -> list[Path]:
    """Download the published checkpoints of models that are not here yet, and check them.

    Args:
        names: models, see `bench weights list`. Of Table 5's detectors both files, for COCO and for LVIS.

    Returns:
        Where the files are.

    Raises:
        BenchError: if a name is unknown or a file cannot be had; files fetched before it stay.
    """
    if not names:
        raise BenchError("name the models to fetch, e.g. `bench weights fetch efficientsam-ti sam-vit-b`")
    paths = [_fetched(card) for card in [card for name in names for card in _cards(name)]]
    for path in paths:
        _print("ok", "green", str(path))
    return paths


def verify_weights(names: tyro.conf.Positional[tuple[str, ...]] = ()) -> None:
    """Hash checkpoints again and compare them with the published hashes.

    Args:
        names: models, see `bench weights list`; none for every model whose file is here.

    Raises:
        BenchError: if one is missing, damaged or not the published one; all others are checked first.
    """
    wrong: list[BenchError] = []
    for card in [card for name in names for card in _cards(name)] or _present():
        try:
            line = _verified(card)
        except (BenchError, OSError) as error:
            wrong.append(error if isinstance(error, BenchError) else refused(error))
            _print("bad", "red", card.name)
        else:
            _print("ok", "green", line)
    if wrong:
        raise BenchError("; ".join(str(error) for error in wrong))


def _all() -> list[Card]:
    """Return the cards of the zoo, then those of all other published files."""
    others: list[RowCard] = [*CASCADES]
    for name in tables.names():
        with suppress(BenchError):  # a broken plug-in has its line in `bench list`
            table = tables.find(name)
            cards = registry_of(table).cards() if hasattr(table, "CARDS") else ()
            others += [card for card in cards if isinstance(card, RowCard) and card.url and card not in others]
    return [*(zoo.card(name) for name in zoo.names()), *others]


def _cards(name: str) -> list[Card]:
    """Return the cards of one name.

    Raises:
        BenchError: if there is none; it names the nearest one.
    """
    if specs.is_spec(name):
        return [zoo.card(name)]
    known = _all()
    found = [card for card in known if card.name == name]
    if not found:
        unknown = unknown_name("model", name, dict.fromkeys(card.name for card in known))
        raise BenchError("; ".join([str(unknown), *zoo.broken_plugins()]))
    return found


def _path(card: Card) -> Path | None:
    return checkpoints.checkpoint_path(card if isinstance(card, ModelCard) else card.file_card)


def _available(card: Card) -> tuple[bool, str]:
    return zoo.available(card.name) if isinstance(card, ModelCard) else row_cards.available(card)


def _fetched(card: Card) -> Path:
    """Return where the file of a card is, downloaded if it was not there."""
    if isinstance(card, ModelCard):
        return download.fetch(card)
    download.fetch(card.file_card)
    return row_cards.checkpoint_file(card)  # knows hashes of which the beginning alone is published


def _verified(card: Card) -> str:
    """Return the line about a checkpoint that passed."""
    path = _path(card)
    if path is None:
        return f"{card.name}: no file to verify"
    forget_hash(path)
    if isinstance(card, ModelCard):
        digest, known = checkpoints.check(card, path), card.sha256 is not None
    else:
        digest, known = checkpoints.sha256_of(row_cards.checkpoint_file(card)), card.digest is not None
    return f"{card.name} {digest}{'' if known else ' (no published hash to compare with)'}"


def _print(word: str, style: str, line: str) -> None:
    """Print a coloured word and what it is about, whose names are text and no markup."""
    Console().print(Text.assemble((word, style), " ", printable(line)), soft_wrap=True, highlight=False)


def _present() -> list[Card]:
    """Return the cards whose checkpoint file is here."""
    return [card for card in _all() if _is_file(_path(card))]


def _is_file(path: Path | None) -> bool:
    return path is not None and path.is_file()


def _size(card: Card, path: Path | None) -> str:
    """Return the size of a checkpoint, published or found, in MB."""
    size = card.bytes
    if size is None and path is not None and path.is_file():
        size = path.stat().st_size
    return "" if size is None else f"{size / 1e6:,.1f} MB"
