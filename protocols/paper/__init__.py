"""The paper's numbers, as data: one CSV a table as printed, and statements.csv, what its text says (`ledger`)."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pandas as pd

from models.errors import unknown_name


@cache
def paper_table(name: str) -> pd.DataFrame:
    """Return a table of the paper, indexed by method, values as printed (percent).

    Raises:
        BenchError: for an unknown table.
    """
    return pd.read_csv(_file(name)).set_index("method")


@cache
def _texts(name: str) -> pd.DataFrame:
    """Return the same as text."""
    return pd.read_csv(_file(name), dtype=str, keep_default_na=False).set_index("method")


def _file(name: str) -> Path:
    known = {path.stem: path for path in Path(__file__).parent.glob("*.csv") if path.stem != "statements"} | _ADDED
    if name not in known:
        raise unknown_name("table", name, known)
    return known[name]


_ADDED: dict[str, Path] = {}


def add_paper_table(name: str, path: Path) -> None:
    """Make the numbers of a table known that another package adds: a CSV whose first column is "method"."""
    _ADDED[name] = path


def printed_number(table: str, row: str, column: str) -> str:
    """Return a value of the paper with its digits as printed, empty where the paper has no such cell.

    >>> printed_number("table1", "DMAE-B", "top1")
    '84.0'
    """
    texts = _texts(table)
    return str(texts.at[row, column]) if row in texts.index and column in texts.columns else ""


def paper_number(table: str, row: str, column: str) -> float | None:
    """Return a value of the paper as printed, None where the paper has no such cell."""
    frame = paper_table(table)
    if row not in frame.index or column not in frame.columns:
        return None
    value = float(frame.at[row, column])  # type: ignore[arg-type]
    return None if math.isnan(value) else value


def paper_value(table: str, row: str, column: str) -> float | None:
    """Return a percent value of the paper as 0..1, None where the paper has no such cell."""
    printed = paper_number(table, row, column)
    return None if printed is None else round(printed / 100, 6)


def paper_difference(table: str, first: str, second: str, column: str) -> float | None:
    """Return the difference of two values of the paper, 0..1, None where it lacks one of them."""
    values = [paper_value(table, row, column) for row in (first, second)]
    return None if values[0] is None or values[1] is None else round(values[0] - values[1], 6)
