"""Download a checkpoint: resumed where it broke off, checked at the end, moved into place only when whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from models.cards import ModelCard
from models.checkpoints import check, checkpoint_path, missing
from models.errors import BenchError
from models.files import transfer
from models.files.transfer import Advance, Remote


def fetch(card: ModelCard) -> Path:
    """Download a card's checkpoint into the weights folder unless it is there already; return its path.

    Raises:
        BenchError: if the card has no address, the address cannot be reached, the disk is full, or the file
            that arrives is not the published one.
    """
    path = checkpoint_path(card)
    if path is None:
        raise BenchError(f"'{card.name}' has no checkpoint file to fetch: use it as it is")
    if path.is_file():
        check(card, path)
        transfer.forget(path)  # of a download that another way overtook
        return path
    if card.url is None:
        raise missing(card, path)
    remote = Remote(card.url, card.bytes, card.sha256)
    transfer.download(remote, path, _progress, or_else=", or set BENCH_WEIGHTS")
    return path


@contextmanager
def _progress(name: str, expected: int | None) -> Iterator[Advance]:
    """Show a bar with speed and remaining time while a file arrives."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(name, total=expected)

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total or expected)

        yield advance
