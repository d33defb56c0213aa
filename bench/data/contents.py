"""What files hold, as hashes: each is read once, and again when its size, times or inode say that it may have changed.

What is known is kept in the cache, a file of JSON for all that lies two folders below the same one (COCO's photos,
ImageNet's classes), so that looking at 20,000 photos costs a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from bench.data.parsed_cache import _building
from bench.paths import cache_dir
from models.errors import BenchError

RECENT_NS = 2_000_000_000
"""A file that changed so lately may change again without another time: the coarsest clock of a file system ticks every
two seconds (FAT). Its hash is not remembered."""
LARGE = 1 << 29
"""Bytes that take a second or two to hash, from where on progress is shown."""

Progress = Callable[[str, int, int], AbstractContextManager[Callable[[int], None]]]
"""(description, total, done already) -> context that yields advance(n)."""


class Contents:
    """What is known of files' contents; made anew for each look at a data set."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, list[Any]]] = {}
        self._news: dict[str, dict[str, list[Any]]] = {}

    def hashes(self, files: Sequence[Path], progress: Progress) -> list[str]:
        """Return the sha256 of each file, or why it has none, and keep in the cache what is new."""
        found = [self._remembered(path) for path in files]
        unknown = [number for number, value in enumerate(found) if value is None]
        large = sum(_size(files[number]) for number in unknown) > LARGE
        bar = progress("hashing images", len(files), len(files) - len(unknown)) if large else nullcontext(_quiet)
        with bar as advance:
            for number in unknown:
                found[number] = self.hash(files[number])
                advance(1)
        self._save()
        return [str(value) for value in found]

    def hash(self, path: Path) -> str:
        """Return the sha256 of a file as it is now, or, if it cannot be read, why."""
        remembered = self._remembered(path)
        if remembered is not None:
            return remembered
        try:
            with path.open("rb") as file:
                state = _state(os.fstat(file.fileno()))
                value = hashlib.file_digest(file, "sha256").hexdigest()
                unchanged = _state(os.fstat(file.fileno())) == state
        except OSError as error:
            return f"unreadable: {error.strerror or error}"
        _, _, changed_ns, _ = state
        folder, name = _place(path)
        if unchanged:
            self._of(folder)[name] = [*state, value]
            if time.time_ns() - changed_ns > RECENT_NS:
                self._news.setdefault(folder, {})[name] = [*state, value]
        return value

    def _remembered(self, path: Path) -> str | None:
        """Return the hash of a file that has not changed since, else None."""
        folder, name = _place(path)
        entry = self._of(folder).get(name)
        with suppress(OSError):  # `hash` says what is wrong
            if isinstance(entry, list) and entry[:-1] == _state(os.stat(path)):
                return str(entry[-1])
        return None

    def _of(self, folder: str) -> dict[str, list[Any]]:
        if folder not in self._known:
            self._known[folder] = _load(_memory(folder))
        return self._known[folder]

    def _save(self) -> None:
        """Add what is new to the cache; where that cannot be written, files are read again another time."""
        for folder, entries in self._news.items():
            path = _memory(folder)
            with suppress(BenchError), _building(path.parent) as workshop:
                # Another process may have added to it meanwhile.
                content = {"folder": folder, "files": {**_load(path), **entries}}
                (workshop / path.name).write_text(json.dumps(content))
                os.replace(workshop / path.name, path)
        self._news = {}


def digest(texts: Iterable[str]) -> str:
    """Return a hash of texts in their order, 64 hex digits."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()


def _quiet(n: int) -> None:
    """Show nothing."""


def _state(found: os.stat_result) -> list[int]:
    # `touch -r` and unzip restore a file's mtime, nothing its ctime; a file moved over another has another inode.
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _place(path: Path) -> tuple[str, str]:
    """Return the folder above a file's own, and the file's path in it."""
    parent, name = os.path.split(os.path.abspath(path))
    folder, last = os.path.split(parent)
    return folder, f"{last}/{name}"


def _memory(folder: str) -> Path:
    return cache_dir() / "contents" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.json"


def _load(path: Path) -> dict[str, list[Any]]:
    """Return what a file of the cache remembers, nothing if it is absent or damaged."""
    try:
        files = json.loads(path.read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return files if isinstance(files, dict) else {}
