"""Download a checkpoint: resumed where it broke off, checked at the end, moved into place only when whole."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
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
from models.errors import BenchError, way_out
from models.files.hashes import hash_file

_CHUNK = 1 << 20
_TIMEOUT_S = 30
_BREAKS = 4
"""Broken connections in a row, without a byte between them, after which the download gives up."""
_PAUSE_S = 1.0
"""After the first break without a byte; longer by as much after each further one."""

Advance = Callable[[int, int | None], None]
"""Told the bytes that are there and the bytes expected."""


def fetch(card: ModelCard) -> Path:
    """Download a card's checkpoint into the weights folder unless it is there already; return its path.

    Raises:
        BenchError: if the card has no address, the address cannot be reached, the disk is full, or the file
            that arrives is not the published one.
    """
    path = checkpoint_path(card)
    if path is None:
        raise BenchError(f"'{card.name}' has no checkpoint file to fetch: use it as it is")
    part = path.with_name(f"{path.name}.part")
    if path.is_file():
        check(card, path)
        with suppress(OSError):  # of a download that another way overtook
            part.unlink()
        return path
    if card.url is None:
        raise missing(card, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _progress(path.name, card.bytes) as advance:
            _download(card.url, part, advance)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise _unreachable(card, path, error) from error
    except OSError as error:
        failed = error.filename or part
        raise BenchError(
            f"cannot write '{failed}' ({error.strerror}): {way_out(error)}, or set BENCH_WEIGHTS"
        ) from error
    _accept(card, part, path)
    return path


def _accept(card: ModelCard, part: Path, path: Path) -> None:
    """Move a complete download into place, or delete it if it is not the published file."""
    digest = hash_file(part)
    if card.sha256 is not None and digest != card.sha256:
        size = part.stat().st_size
        part.unlink()
        raise BenchError(
            f"{card.url} gave {size:,} bytes with sha256 {digest} instead of {card.sha256}: "
            f"nothing was kept, try again or put the published file at '{path}'"
        )
    os.replace(part, path)


def _download(url: str, part: Path, advance: Advance) -> None:
    """Fill `part`, starting after what it holds already and again after every break that made progress."""
    breaks = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _continue(url, part, before, advance):
                return
            error: Exception = ConnectionError("the connection closed early")
        except (HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as broken:
            if isinstance(getattr(broken, "reason", None), str):  # the server's answer, not a broken connection
                raise
            error = broken
        breaks = 0 if part.exists() and part.stat().st_size > before else breaks + 1
        if breaks >= _BREAKS or not part.exists():
            raise error
        time.sleep(_PAUSE_S * breaks)


def _continue(url: str, part: Path, start: int, advance: Advance) -> bool:
    """Append what is missing to `part`; return whether the whole file is there."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing after `start`: all of it had arrived before
            return True
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise urllib.error.URLError("the answer is a web page instead of a file")
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length) + (start if resumed else 0)
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                advance(file.tell(), total)
            return total is None or file.tell() >= total


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


def _unreachable(card: ModelCard, path: Path, error: Exception) -> BenchError:
    """Return the error that tells how to get the file by hand."""
    reason = getattr(error, "reason", None) or error
    size = "of unpublished size" if card.bytes is None else f"{card.bytes:,} bytes"
    return BenchError(
        f"cannot download {card.url} ({reason}): run the command again to resume, or download the file "
        f"({size}) elsewhere and put it at '{path}'"
    )
