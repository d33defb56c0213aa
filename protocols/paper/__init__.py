"""The paper's numbers, as data: tableN.csv as printed."""

from __future__ import annotations

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
    known = {path.stem: path for path in Path(__file__).parent.glob("table*.csv")}
    if name not in known:
        raise unknown_name("table", name, known)
    return pd.read_csv(known[name]).set_index("method")


def paper_value(table: str, row: str, column: str) -> float | None:
    """Return a percent value of the paper as 0..1, None where the paper has no such cell."""
    frame = paper_table(table)
    if row not in frame.index or column not in frame.columns:
        return None
    return round(float(frame.at[row, column]) / 100, 6)  # type: ignore[arg-type]
