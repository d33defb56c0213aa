"""Hashes of files, remembered in the cache folder for as long as nothing about the file changes.

The memory is a convenience: one that cannot be read or written, or is damaged, costs a second reading of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from models.errors import BenchError
from models.files.folders import cache_folder


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def remembered_sha256(path: Path) -> str:
    """Return the sha256 of a file, read again only if its size, a time of it, its inode or its device changed.

    Raises:
        OSError: if the file cannot be read.
    """
    before = _state(path)
    with suppress(BenchError, OSError, ValueError, TypeError, KeyError, RecursionError):
        known = json.loads(memory_of(path).read_bytes())
        if known["file"] == before and len(known["sha256"]) == 64:
            return str(known["sha256"])
    digest = hash_file(path)
    if _state(path) == before:  # else it was written to meanwhile, and the next call must read it again
        with suppress(BenchError, OSError):
            _write(memory_of(path), json.dumps({"file": before, "sha256": digest}))
    return digest


def forget_hash(path: Path) -> None:
    """Make the next `remembered_sha256` read the file again."""
    with suppress(BenchError, OSError):
        memory_of(path).unlink(missing_ok=True)


def memory_of(path: Path) -> Path:
    """Return where the hash of a file is kept: in the cache, since what lies beside a user's file is the user's."""
    return cache_folder() / "sha256" / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]}.json"


def _state(path: Path) -> list[str | int]:
    """Return what changes if the file does. ctime is there because unzip and rsync restore mtime."""
    found = path.stat()
    times = [found.st_mtime_ns, found.st_ctime_ns]
    return [os.fsdecode(path.absolute()), found.st_size, *times, found.st_ino, found.st_dev]


def _write(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".building-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
