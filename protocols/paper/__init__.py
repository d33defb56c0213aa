"""The paper's numbers, as data: one CSV a table as printed, claims.csv for differences that its text states."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from models.errors import unknown_name


class Claim(NamedTuple):
    """A difference that the paper's text states, first - second."""

    id: str
    section: str
    table: str
    """Table or figure that it is about."""
    first: str
    second: str
    column: str
    claimed: float
    """0..1."""
    at_least: bool
    """Whether the paper says that it is larger than this."""
    note: str


@cache
def paper_table(name: str) -> pd.DataFrame:
    """Return a table of the paper, indexed by method, values as printed (percent).

    Raises:
        BenchError: for an unknown table.
    """
    known = {path.stem: path for path in Path(__file__).parent.glob("*.csv") if path.stem != "claims"} | _ADDED
    if name not in known:
        raise unknown_name("table", name, known)
    return pd.read_csv(known[name]).set_index("method")


_ADDED: dict[str, Path] = {}


def add_paper_table(name: str, path: Path) -> None:
    """Make the numbers of a table known that another package adds: a CSV whose first column is "method"."""
    _ADDED[name] = path


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


@cache
def claims(table: str) -> tuple[Claim, ...]:
    """Return the differences that the text states about a table or figure."""
    frame = pd.read_csv(Path(__file__).parent / "claims.csv", dtype=str, keep_default_na=False)
    return tuple(
        Claim(**{**line, "claimed": round(float(line["claimed"]) / 100, 6), "at_least": line["at_least"] == "yes"})  # type: ignore[arg-type]
        for line in frame[frame["table"] == table].to_dict("records")
    )
