"""The cache of parsed files: an Arrow table and its notes, keyed by content, written whole or not at all.

An entry is one file: the table (Arrow IPC), the notes (JSON), their two lengths, and a sha256 of all that. It
is checked when it is opened (0.15 s for the 200 MB of LVIS val), made again if it does not hold, and then
mapped into memory. Writers work in folders of their own and rename into place, so any number of processes may
open one at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from bench.data.jsonstream import Source
from bench.paths import cache_dir
from models.errors import BenchError, refused, way_out
from models.files.hashes import remembered_sha256

T = TypeVar("T")

_LEFTOVER_SECONDS = 24 * 3600
_LENGTHS = struct.Struct("<QQ")
_DIGEST_BYTES = 32


class CachedTable(NamedTuple):
    """A cache entry."""

    columns: pa.Table
    notes: dict[str, Any]


def file_sha256(path: Path) -> str:
    """Return a file's sha256, remembered for as long as its path, size, times and inode stay the same.

    Raises:
        BenchError: if the file cannot be read.
    """
    try:
        return remembered_sha256(path)
    except OSError as error:
        raise BenchError(
            f"{path} cannot be read ({error.strerror or error}): check the path and its permissions"
        ) from error


def cached_table(stem: str, build: Callable[[Path], dict[str, Any]]) -> CachedTable:
    """Return the cache entry `stem`, built first if it is absent or damaged.

    Args:
        stem: the entry's name: what it holds, the source's sha256, and the version of the format.
        build: writes an Arrow IPC file to the path it is given and returns the notes, which JSON can hold.

    Raises:
        BenchError: if the cache cannot be written, or whatever `build` raises.
    """
    entry = cache_dir() / "index" / f"{stem}.index"
    found = _load(entry)
    if found is None:
        with _building(entry.parent) as folder:
            table = folder / "table"
            notes = build(table)
            _seal(table, json.dumps(notes).encode())
            os.replace(table, entry)
        found = _load(entry)
    if found is None:
        raise BenchError(f"{entry} cannot be read back: check the disk or point BENCH_CACHE elsewhere")
    return found


def numbers(table: pa.Table, name: str) -> np.ndarray:
    """Return a column of numbers, lists of them flattened; a view if the table has one batch.

    Through DLPack, since `to_numpy` and `combine_chunks` import pandas, 0.4 s and 50 MB.
    """
    kind = table.schema.field(name).type
    is_list = pa.types.is_fixed_size_list(kind)
    columns = [batch.column(name) for batch in table.to_batches()]
    views = [np.from_dlpack(column.flatten() if is_list else column) for column in columns]
    if len(views) == 1:
        return views[0]
    return np.concatenate([np.zeros(0, str(kind.value_type if is_list else kind)), *views])


def convert_or_explain(
    convert: Callable[[Sequence[Any]], T], entries: Sequence[Any], first: int, noun: str, source: Source
) -> T:
    """Convert a batch of a file's entries at once; if that fails, find the entry at fault and name it.

    Raises:
        BenchError: naming the position of the first entry that does not convert; entries[0] has `first`.
    """
    mistakes = (KeyError, TypeError, AttributeError, ValueError, OverflowError, pa.ArrowException)
    try:
        return convert(entries)
    except mistakes:
        for position, entry in enumerate(entries, first):
            where = f"{source.path}: {noun} {position:,} (counting from 0)"
            try:
                convert([entry])
            except KeyError as missing:
                raise BenchError(f"{where} has no {missing}: {source.remedy}") from None
            except mistakes as mistake:
                raise BenchError(f"{where} is malformed ({str(mistake).splitlines()[0]}): {source.remedy}") from None
        raise


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """Offer a temporary folder inside `folder`; what killed writers left there is removed after a day."""
    workshop = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".building-*"):
            # Another process may be done with its own at this very moment.
            with suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > _LEFTOVER_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)
        workshop = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
        yield workshop
    except OSError as error:
        failed = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else folder
        if not (folder.is_relative_to(failed) or failed.is_relative_to(folder)):
            raise refused(error) from error  # the source of an entry, not the cache
        raise BenchError(
            f"the cache {folder} cannot be written ({error.strerror or error}): {way_out(error)}, "
            "or point BENCH_CACHE elsewhere"
        ) from error
    finally:
        if workshop is not None:
            shutil.rmtree(workshop, ignore_errors=True)


def _seal(table: Path, notes: bytes) -> None:
    """Append the notes, the lengths and the digest to a table."""
    lengths = _LENGTHS.pack(table.stat().st_size, len(notes))
    digest = hashlib.sha256()
    _hash_into(digest, table)
    digest.update(notes + lengths)
    with table.open("ab") as file:
        file.write(notes + lengths + digest.digest())
        file.flush()
        os.fsync(file.fileno())


def _load(entry: Path) -> CachedTable | None:
    """Return an entry, None if it is absent or not what was written."""
    try:
        body = entry.stat().st_size - _DIGEST_BYTES
        found = _hash_into(hashlib.sha256(), entry, body)
        content = pa.memory_map(os.fspath(entry)).read_buffer() if body >= _LENGTHS.size else None
    except OSError:
        return None
    if content is None or found != content[body:].to_pybytes():
        return None
    n_table, n_notes = _LENGTHS.unpack(content[body - _LENGTHS.size : body].to_pybytes())
    columns = pa.ipc.open_file(pa.BufferReader(content[:n_table])).read_all()
    return CachedTable(columns, json.loads(content[n_table : n_table + n_notes].to_pybytes()))


def _hash_into(digest: hashlib._Hash, path: Path, end: int | None = None) -> bytes:
    """Feed a file's first `end` bytes (all of them by default) to a digest and return its value."""
    left = path.stat().st_size if end is None else end
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.digest()
