"""Records as parquet: equal frames give equal bytes, and damage is noticed.

No time stamps are written: the bytes depend on the frame and the versions of pandas and pyarrow only. Parquet has
checksums for pages but none for the footer, where names, types and places of columns are; so each file carries the
sha256 of all its other bytes, as metadata that any parquet reader passes over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from models.errors import BenchError, refused

_T = TypeVar("_T")

SEAL = b"bench.sha256"
"""Key of the metadata whose value is the digest."""
_BLANK = b"0" * 64
"""Stands for the digest while it is computed."""
_UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What pyarrow and pandas raise for a file that is none, or whose notes in the footer are not pandas': e.g. no type."""


class DamagedShard(Exception):
    """A file that is no whole parquet file; the store sets it aside."""


def encode(frame: pd.DataFrame) -> bytes:
    """Return `frame` as a parquet file; its index is not kept, its columns' types are, also without rows.

    Raises:
        BenchError: if column names are not distinct strings, or a column mixes types.
    """
    names = list(frame.columns)
    if len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        raise BenchError(f"records need distinct column names of type str, got {names}: rename the columns")
    frame = frame.copy(deep=False)
    frame.attrs = {}  # would be written, though equality of frames ignores them
    try:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        said = "; ".join(str(part) for part in reversed(error.args))
        raise BenchError(f"records cannot be written as parquet ({said}): give that column one plain type") from error
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({SEAL.decode(): _BLANK.decode()})
    content = bytes(sink.getvalue())
    place = content.rindex(_BLANK)
    digest = hashlib.sha256(content).hexdigest().encode()
    return content[:place] + digest + content[place + len(_BLANK) :]


def _check_seal(path: Path, content: bytes, metadata: dict[bytes, bytes] | None) -> None:
    """See whether the bytes are those that were written.

    Raises:
        DamagedShard: if they are not.
    """
    digest = (metadata or {}).get(SEAL, b"")
    place = content.rfind(digest) if len(digest) == len(_BLANK) else -1
    if place < 0 or hashlib.sha256(content[:place] + _BLANK + content[place + 64 :]).hexdigest().encode() != digest:
        raise DamagedShard(f"{path}: its bytes are not those that were written")


def check(path: Path) -> None:
    """Look at a parquet file's footer, which is written last: enough to notice a file cut short, in 0.1 ms.

    Raises:
        DamagedShard: if it is not a whole parquet file.
        BenchError: if it cannot be opened.
    """
    _open(path, lambda parquet: None)


def read(path: Path) -> pa.Table:
    """Read a parquet file, verifying its digest.

    Raises:
        DamagedShard: if it is not a whole parquet file.
        BenchError: if it cannot be opened.
    """

    def everything(parquet: pq.ParquetFile) -> pa.Table:
        _check_seal(path, path.read_bytes(), parquet.metadata.metadata)
        table = parquet.read()
        # pandas' notes are in the footer: see whether it still understands them.
        table.schema.empty_table().to_pandas()
        return table

    return _open(path, everything)


def has_text(path: Path, column: str) -> bool:
    """Return from the footer, in 0.3 ms, whether a column of texts has one that is not empty; True if in doubt.

    Raises:
        DamagedShard: if it is not a whole parquet file.
        BenchError: if it cannot be opened.
    """

    def look(parquet: pq.ParquetFile) -> bool:
        place = parquet.schema_arrow.get_field_index(column)
        groups = [parquet.metadata.row_group(k) for k in range(parquet.metadata.num_row_groups)]
        found = [group.column(place).statistics for group in groups if place >= 0 and group.num_rows]
        return any(one is None or not one.has_min_max or one.max != "" for one in found)

    return _open(path, look)


def join(tables: Sequence[pa.Table], paths: Sequence[Path]) -> pd.DataFrame:
    """Put the rows of all tables one after the other.

    Tables without rows add nothing, also no types, unless none has rows: pandas cannot tell the type of a
    column that was made from an empty list. A column of nulls takes the type it has elsewhere.

    Args:
        tables: at least one.
        paths: where each came from, for the error message.

    Raises:
        BenchError: if columns or their types differ between tables.
    """
    full = [(table, path) for table, path in zip(tables, paths, strict=True) if table.num_rows]
    if not full:
        full = [(max(tables, key=lambda table: len(table.column_names)), paths[0])]
    first, origin = full[0]
    for table, path in full:
        if table.column_names != first.column_names:
            raise BenchError(
                f"{path} has columns {table.column_names}, but {origin} has {first.column_names}: "
                "delete the one that is wrong and run the same command again"
            )
    try:
        joined = pa.concat_tables([table for table, _ in full], promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise BenchError(
            f"the shards in {paths[0].parent} disagree about a column's type ({error}): "
            "delete those that are wrong and run the same command again"
        ) from error
    # pandas' own notes (nullable, categorical, ...) hold for the table whose types are the joined ones.
    typed = [table.schema for table, _ in full if table.schema.equals(joined.schema)]
    frame: pd.DataFrame = joined.replace_schema_metadata(typed[0].metadata if typed else None).to_pandas()
    return frame


def _open(path: Path, look: Callable[[pq.ParquetFile], _T]) -> _T:
    try:
        file = path.open("rb")
    except OSError as error:
        raise refused(error, path) from error
    with file:
        try:
            return look(pq.ParquetFile(file, page_checksum_verification=True))
        except _UNREADABLE as error:
            raise DamagedShard(f"{path}: {error}") from error
