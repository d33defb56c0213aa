"""CSV that spreadsheets show and never compute: names come from anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

_FORMULA = ("=", "+", "-", "@")


def inert(value: object) -> object:
    """Return a text that spreadsheets do not compute: one that begins as formulas do gets an apostrophe.

    >>> inert("=1+1"), inert(-0.5)
    ("'=1+1", -0.5)
    """
    return f"'{value}" if isinstance(value, str) and value.lstrip().startswith(_FORMULA) else value


def inert_csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV, one line a row, numbers unrounded."""
    return frame.map(inert).rename(columns=inert).to_csv(index=False, lineterminator="\n")


def grid_csv(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of text as CSV."""
    return inert_csv(pd.DataFrame([list(row) for row in rows], columns=list(head), dtype=object))
