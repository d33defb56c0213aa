"""Bytes by key in a folder that never grows past a bound: what can be made again, kept for later runs.

A file is the hash of its content and the content: a damaged or half-written one counts as none. Files that were not
used for longest go first.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from bench.store.disk import write_whole

_DIGEST = 16
"""Bytes of the hash."""


class BoundedFolder:
    """At most so many bytes in a folder, by key.

    Several processes may share one: a file that another removed meanwhile counts as none.

    Args:
        root: the folder, made when something is kept.
        most: bytes that all files may take together.
    """

    def __init__(self, root: Path, most: int) -> None:
        self.root, self.most = root, most
        self._bytes: int | None = None

    def read(self, key: str) -> bytes | None:
        """Return what was kept under a key, None if it is not there or damaged."""
        path = self._path(key)
        try:
            whole = path.read_bytes()
            os.utime(path)  # the last to go
        except OSError:
            return None
        content = whole[_DIGEST:]
        return content if _digest(content) == whole[:_DIGEST] else None

    def write(self, key: str, content: bytes) -> None:
        """Keep something, and remove the oldest while there are too many bytes; what is too large alone is not kept.

        Raises:
            BenchError: if the disk is full or refuses.
        """
        whole = _digest(content) + content
        if len(whole) > self.most:
            return
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, whole)
        self._bytes = self._size() if self._bytes is None else self._bytes + len(whole)
        if self._bytes > self.most:
            self._make_room()

    def _path(self, key: str) -> Path:
        return self.root / key[:2] / f"{key}.kept"

    def _size(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _make_room(self) -> None:
        files = sorted(self._files())
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= self.most:
                break
            path.unlink(missing_ok=True)
            left -= size
        self._bytes = left

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return (last use, bytes, path) of all files."""
        found = []
        for path in self.root.glob("*/*.kept"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another process made room
                continue
            found.append((status.st_mtime, status.st_size, path))
        return found


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()
