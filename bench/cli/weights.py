"""`bench weights`: which checkpoints the zoo knows, which are here, and whether they match the published hashes."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cli.as_json import AsJson, print_json
from models import checkpoints, download, zoo
from models.cards import ModelCard
from models.errors import BenchError, printable, refused
from models.files.hashes import forget_hash


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
    for name in zoo.names():
        card, path = zoo.card(name), checkpoints.checkpoint_path(zoo.card(name))
        try:
            (usable, why), found, size = zoo.available(name), _is_file(path), _size(card, path)
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
        names: models, see `bench weights list`.

    Returns:
        Where the files are.

    Raises:
        BenchError: if a name is unknown or a file cannot be had; files fetched before it stay.
    """
    cards = [zoo.card(name) for name in names]
    if not cards:
        raise BenchError("name the models to fetch, e.g. `bench weights fetch efficientsam-ti sam-vit-b`")
    paths = [download.fetch(card) for card in cards]
    for path in paths:
        _print("ok", "green", str(path))
    return paths


def verify_weights(names: tyro.conf.Positional[tuple[str, ...]] = ()) -> None:
    """Hash checkpoints again and compare them with the published hashes.

    Args:
        names: models; none for every model whose file is here.

    Raises:
        BenchError: if one is missing, damaged or not the published one; all others are checked first.
    """
    wrong: list[BenchError] = []
    for card in [zoo.card(name) for name in names] or _present():
        try:
            line = _verified(card)
        except (BenchError, OSError) as error:
            wrong.append(error if isinstance(error, BenchError) else refused(error))
            _print("bad", "red", card.name)
        else:
            _print("ok", "green", line)
    if wrong:
        raise BenchError("; ".join(str(error) for error in wrong))


def _verified(card: ModelCard) -> str:
    """Return the line about a checkpoint that passed."""
    path = checkpoints.checkpoint_path(card)
    if path is None:
        return f"{card.name}: no file to verify"
    forget_hash(path)
    digest = checkpoints.check(card, path)
    doubt = "" if card.sha256 else " (no published hash to compare with)"
    return f"{card.name} {digest}{doubt}"


def _print(word: str, style: str, line: str) -> None:
    """Print a coloured word and what it is about, whose names are text and no markup."""
    Console().print(Text.assemble((word, style), " ", printable(line)), soft_wrap=True, highlight=False)


def _present() -> list[ModelCard]:
    """Return the cards whose checkpoint file is here."""
    cards = [zoo.card(name) for name in zoo.names()]
    return [card for card in cards if _is_file(checkpoints.checkpoint_path(card))]


def _is_file(path: Path | None) -> bool:
    return path is not None and path.is_file()


def _size(card: ModelCard, path: Path | None) -> str:
    """Return the size of a checkpoint, published or found, in MB."""
    size = card.bytes
    if size is None and path is not None and path.is_file():
        size = path.stat().st_size
    return "" if size is None else f"{size / 1e6:,.1f} MB"
