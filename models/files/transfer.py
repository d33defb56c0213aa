"""A file from the web: resumed where it broke off, over several connections where the server sends ranges.

Bytes are appended to `<name>.part` in order, so that its length says how far a killed download came. The file is
checked by size and sha256, where these are known, before it gets its name.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from itertools import islice
from pathlib import Path

from models.errors import BenchError, way_out

CONNECTIONS = 4
PIECE = 8 << 20
"""Bytes that one connection asks for at a time. Twice as many pieces as connections are held in memory."""
PARALLEL_FROM = 64 << 20
"""Bytes that must be missing for several connections to be worth their while."""
LARGE = 1 << 29
"""Bytes that take a second or two to hash, from where on progress is shown."""
_CHUNK = 1 << 20
_TIMEOUT_S = 30
_BREAKS = 4
"""Broken connections in a row, without a byte between them, after which the download gives up."""
_PAUSE_S = 1.0
"""After the first break without a byte; longer by as much after each further one."""

Advance = Callable[[int, int | None], None]
"""Told the bytes that are done and the bytes expected."""
ShowBytes = Callable[[str, int | None], AbstractContextManager[Advance]]
"""(description, bytes expected) -> context that yields an Advance."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file as its publisher offers it; None where nothing was published."""

    url: str
    bytes: int | None = None
    sha256: str | None = None


class _NoRanges(Exception):
    """The server sent something else than the range that was asked for."""


def download(remote: Remote, path: Path, show: ShowBytes, *, or_else: str = "") -> None:
    """Download a file to `path`.

    Args:
        remote: what is to come.
        path: where it is to be.
        show: shows progress.
        or_else: what else a user may do if the disk refuses.

    Raises:
        BenchError: if the address cannot be reached, the disk is full or refuses, or what arrives has another size or
            hash than was published. What arrived before stays, and the next call goes on there.
    """
    part = part_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with show(path.name, remote.bytes) as advance:
            _fill(remote, part, advance)
        check(remote, part, show)
    except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise _unreachable(remote, path, error) from error
    except OSError as error:
        failed = error.filename or part
        raise BenchError(f"cannot write '{failed}' ({error.strerror}): {way_out(error)}{or_else}") from error
    except WrongFile as wrong:
        forget(path)
        raise BenchError(
            f"{remote.url} gave {wrong}: nothing was kept, try again or put the published file at '{path}'"
        ) from None
    os.replace(part, path)
    forget(path)


class WrongFile(Exception):
    """A file that is not the published one: what it is, as part of a sentence."""


def check(remote: Remote, path: Path, show: ShowBytes) -> str:
    """Return the sha256 of a file after comparing size and hash with the published ones.

    Raises:
        WrongFile: if one differs.
    """
    size = path.stat().st_size
    if remote.bytes is not None and size != remote.bytes and remote.sha256 is None:
        raise WrongFile(f"{size:,} bytes instead of {remote.bytes:,}")
    digest = _hash(path, size, show)
    if remote.sha256 is not None and digest != remote.sha256:
        raise WrongFile(f"{size:,} bytes with sha256 {digest} instead of {remote.sha256}")
    return digest


def part_of(path: Path) -> Path:
    """Return where a download of `path` grows."""
    return path.with_name(f"{path.name}.part")


def forget(path: Path) -> None:
    """Remove what an unfinished download of `path` left, as far as the system lets us."""
    for left in (part_of(path), _tag_file(part_of(path))):
        with suppress(OSError):
            left.unlink()


def require_room(folder: Path, wanted: int, what: str) -> None:
    """Raise a BenchError if a disk has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise BenchError(
            f"{what} needs {in_words(wanted)}, but {in_words(free)} are free at '{folder}': make room there and run "
            "the same command again"
        )


def in_words(size: float) -> str:
    """Return a size as people write it.

    >>> in_words(815_585_330), in_words(19_336_861_798), in_words(12)
    ('815.6 MB', '19.34 GB', '12 bytes')
    """
    if size < 1e5:
        return f"{int(size):,} bytes"
    return f"{size / 1e6:,.1f} MB" if size < 1e9 else f"{size / 1e9:,.2f} GB"


def _hash(path: Path, size: int, show: ShowBytes) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size < LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        with show(f"checking {path.name.removesuffix('.part')}", size) as advance:
            while chunk := file.read(8 * _CHUNK):
                digest.update(chunk)
                advance(file.tell(), size)
    return digest.hexdigest()


def _fill(remote: Remote, part: Path, advance: Advance) -> None:
    """Fill `part`, starting after what it holds already and again after every break that made progress."""
    breaks, parallel = 0, True
    while True:
        before = part.stat().st_size if part.exists() else 0
        error: Exception
        try:
            if _continue(remote, part, before, advance, parallel):
                return
            error = ConnectionError("the connection closed early")
        except _NoRanges:
            parallel, error = False, ConnectionError("the server sent another range than it was asked for")
        except (HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as broken:
            if isinstance(getattr(broken, "reason", None), str):  # the server's answer, not a broken connection
                raise
            error = broken
        breaks = 0 if part.exists() and part.stat().st_size > before else breaks + 1
        if breaks >= _BREAKS or not part.exists():
            raise error
        time.sleep(_PAUSE_S * breaks)


def _continue(remote: Remote, part: Path, start: int, advance: Advance, parallel: bool) -> bool:
    """Append what is missing to `part`; return whether the whole file is there."""
    try:
        response = _open(remote.url, f"{start}-" if start else "", _tag_of(part) if start else "")
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing after `start`: all of it had arrived before
            size = _total(error.headers.get("Content-Range"))
            if size is not None and size != start:  # of a longer file of that name
                part.write_bytes(b"")
                return False
            return True
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise urllib.error.URLError("the answer is a web page instead of a file")
        resumed, sent = response.status == 206, response.headers.get("Content-Range", "")
        if resumed and sent and not sent.startswith(f"bytes {start}-"):
            raise _NoRanges
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        total = remote.bytes if length is None else int(length) + start
        if total is not None and remote.bytes is not None and total != remote.bytes:
            raise BenchError(
                f"{remote.url} offers {total:,} bytes instead of the {remote.bytes:,} that were published: nothing was "
                "downloaded, the publisher may have replaced the file"
            )
        if total is not None:
            require_room(part.parent, total - start, part.name.removesuffix(".part"))
        tag = response.headers.get("ETag", "")
        if not resumed:
            _remember_tag(part, "" if tag.startswith("W/") else tag)
        with part.open("ab" if resumed else "wb") as file:
            ranges = resumed or response.headers.get("Accept-Ranges") == "bytes"
            if parallel and ranges and total is not None and total - start >= PARALLEL_FROM:
                response.close()
                with closing(_pieces(remote.url, range(start, total, PIECE), total, _tag_of(part), advance)) as pieces:
                    for piece in pieces:
                        file.write(piece)
                return True
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                advance(file.tell(), total)
            return total is None or file.tell() >= total


def _pieces(url: str, starts: range, total: int, tag: str, advance: Advance) -> Generator[bytes]:
    """Yield the pieces of a file in order, several of them on their way at a time."""
    stop, lock, done = threading.Event(), threading.Lock(), starts.start

    def told(size: int) -> None:
        nonlocal done
        with lock:
            done += size
            advance(done, total)

    with ThreadPoolExecutor(CONNECTIONS) as pool:

        def ask(start: int) -> Future[bytes]:
            return pool.submit(_piece, url, start, min(start + PIECE, total), tag, told, stop)

        left = iter(starts)
        waiting = deque(ask(start) for start in islice(left, 2 * CONNECTIONS))
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(ask(start) for start in islice(left, 1))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _piece(url: str, start: int, end: int, tag: str, told: Callable[[int], None], stop: threading.Event) -> bytes:
    """Return the bytes from `start` to `end`, asked for again after every break that made progress."""
    found, breaks = bytearray(), 0
    while len(found) < end - start and not stop.is_set():
        before, error = len(found), ConnectionError("the connection closed early")
        try:
            with _open(url, f"{start + before}-{end - 1}", tag) as response:
                sent = response.headers.get("Content-Range", "")
                if response.status != 206 or not sent.startswith(f"bytes {start + before}-{end - 1}/"):
                    raise _NoRanges
                while len(found) < end - start and not stop.is_set() and (chunk := response.read(_CHUNK)):
                    found += chunk
                    told(len(chunk))
        except (HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as broken:
            error = ConnectionError(str(broken))
        breaks = 0 if len(found) > before else breaks + 1
        if breaks >= _BREAKS:
            raise error
        time.sleep(_PAUSE_S * breaks)
    return bytes(found[: end - start])


def _open(url: str, wanted: str, tag: str) -> HTTPResponse:
    """Ask for a file, or a range of it unless it is another file by now than the one with that tag."""
    headers = {"Range": f"bytes={wanted}"} if wanted else {}
    if wanted and tag:
        headers["If-Range"] = tag
    response: HTTPResponse = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S)
    return response


def _total(content_range: str | None) -> int | None:
    """Return the size that a Content-Range tells.

    >>> _total("bytes 0-1/256"), _total("bytes */256"), _total(None)
    (256, 256, None)
    """
    found = re.search(r"/(\d+)$", content_range or "")
    return int(found[1]) if found else None


def _tag_file(part: Path) -> Path:
    """Return where the server's tag of a file is kept, which changes when the file does."""
    return part.with_name(f"{part.name}.etag")


def _remember_tag(part: Path, tag: str) -> None:
    if tag:
        _tag_file(part).write_text(tag)
    else:
        _tag_file(part).unlink(missing_ok=True)


def _tag_of(part: Path) -> str:
    with suppress(OSError):
        return _tag_file(part).read_text().strip()
    return ""


def _unreachable(remote: Remote, path: Path, error: Exception) -> BenchError:
    """Return the error that tells how to get the file by hand."""
    reason = getattr(error, "reason", None) or error
    size = "of unpublished size" if remote.bytes is None else f"{remote.bytes:,} bytes"
    return BenchError(
        f"cannot download {remote.url} ({reason}): run the command again to resume, or download the file "
        f"({size}) elsewhere and put it at '{path}'"
    )
