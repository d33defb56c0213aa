"""`bench weights`: which checkpoints the zoo knows, which are here, and whether they are the published."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from models import checkpoints, download, zoo
from models.cards import ModelCard
from models.errors import BenchError
from models.hashes import forget_hash


def list_weights() -> None:
    """Print every model with its checkpoint, its licence and whether it can be loaded here."""
    table = Table(box=None)
    for heading in ("model", "scale", "size", "licence", "here"):
        table.add_column(heading, no_wrap=True)
    table.add_column("checkpoint", overflow="fold")
    reasons = []
    for name in zoo.names():
        card, (usable, why) = zoo.card(name), zoo.available(name)
        path = checkpoints.checkpoint_path(card)
        found = path is not None and path.is_file()
        here = "[green]yes[/]" if usable else "[red]no[/]" if found else "no"
        table.add_row(name, card.scale, _size(card, path), card.licence, here, path.name if path else "")
        reasons += [why] if found and not usable else []
    console = Console()
    console.print(table)
    for line in (f"weights folder: {checkpoints.weights_root()}", *reasons):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


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
        Console().print(f"[green]ok[/] {path}", soft_wrap=True, highlight=False)
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
        except BenchError as error:
            wrong.append(error)
            line = f"[red]bad[/] {card.name}"
        Console().print(line, soft_wrap=True, highlight=False)
    if wrong:
        raise BenchError("; ".join(str(error) for error in wrong))


def _verified(card: ModelCard) -> str:
    """Return the line about a checkpoint that passed."""
    path = checkpoints.checkpoint_path(card)
    if path is None:
        return f"[green]ok[/] {card.name}: no file to verify"
    forget_hash(path)
    digest = checkpoints.check(card, path)
    doubt = "" if card.sha256 else " (no published hash to compare with)"
    return f"[green]ok[/] {card.name} {digest}{doubt}"


def _present() -> list[ModelCard]:
    """Return the cards whose checkpoint file is here."""
    cards = [zoo.card(name) for name in zoo.names()]
    return [card for card in cards if (path := checkpoints.checkpoint_path(card)) is not None and path.is_file()]


def _size(card: ModelCard, path: Path | None) -> str:
    """Return the size of a checkpoint, published or found, in MB."""
    size = card.bytes
    if size is None and path is not None and path.is_file():
        size = path.stat().st_size
    return "" if size is None else f"{size / 1e6:,.1f} MB"
