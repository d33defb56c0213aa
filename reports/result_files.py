"""Results that `bench run` wrote to disk, read back: whole, of this version, and every text in them printable."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from models.errors import BenchError
from protocols.results import Status, TableResult
from reports.wording import tame

MOST_BYTES = 64 * 2**20
"""A larger file is no report: those of this project's tables have some 100 kB."""
_WORDS = (
    "key",
    "label",
    "group",
    "apart",
    "kind",
    "note",
    "row",
    "column",
    "status",
    "why",
    "first",
    "second",
    "verdict",
)
_WORDS_OF_ALL = ("name", "title", "scale", "world", "preset", "command", "interval", "pairing", "row_head", "own")
_NUMBERS = ("paper", "measured", "low", "high")
STATUSES = get_args(Status)


def result_files(folders: Sequence[Path]) -> list[Path]:
    """Return the JSON files of some folders, which may hold results.

    Raises:
        BenchError: if a folder is not there or cannot be read.
    """
    for folder in folders:
        if not folder.is_dir():
            raise BenchError(f"there is no folder of reports '{folder}': `bench run table4` writes to reports/out")
    try:
        return [path for folder in dict.fromkeys(folders) for path in sorted(folder.iterdir()) if _is_json(path)]
    except OSError as error:
        raise BenchError(f"cannot read the folder '{error.filename}' ({error.strerror}): name another") from error


def _is_json(path: Path) -> bool:
    return path.suffix == ".json" and path.is_file()


def read_report(path: Path) -> TableResult:
    """Read one result that `bench run` wrote; every text in it is printable.

    Raises:
        BenchError: if it is damaged, of another version or no report.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BenchError("it is too large for a report of `bench run`")
        return _checked(tame(TableResult.from_json(json.loads(path.read_text(encoding="utf-8")))))
    except OSError as error:
        raise BenchError(f"it cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BenchError("it is damaged, no whole JSON: run the command that made it again") from error
    except (TypeError, KeyError, AttributeError, OverflowError) as error:
        raise other_version(error) from error


def _checked(result: TableResult) -> TableResult:
    """Return a result whose numbers are numbers and whose words are words.

    Raises:
        TypeError: if a field holds what it cannot.
    """
    parts = (*result.columns, *result.rows, *result.cells, *result.comparisons)
    words = [*(getattr(part, name) for part in parts for name in _WORDS if hasattr(part, name)), *result.footnotes]
    for word in (*words, *(getattr(result, name) for name in _WORDS_OF_ALL)):
        text(word)
    for cell in result.cells:
        number(cell.n)
    for value in (getattr(part, name) for part in (*result.cells, *result.comparisons) for name in _NUMBERS):
        if value is not None:
            number(value)
    for at in result.x:
        number(at)
    if any(cell.status not in STATUSES for cell in result.cells):
        raise TypeError("a status that it does not know")
    if not isinstance(result.provenance, Mapping):
        raise TypeError("a provenance without names")
    return result


def other_version(error: Exception) -> BenchError:
    """Return the error for what does not have the form of this version's results."""
    return BenchError(f"it is no report of this version of `bench run` ({error}): run the command that made it again")


def text(value: object) -> str:
    """Return a text that is one.

    Raises:
        TypeError: if it is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text belongs")
    return value


def number(value: object) -> float:
    """Return a finite number that is one.

    Raises:
        TypeError: if it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} where a number belongs")
    return float(value)
