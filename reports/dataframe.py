"""The one data frame behind every output: a table result as tidy lines, one line a cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

import pandas as pd

from models.errors import BenchError
from protocols.results import Cell, Column, Row, TableResult
from reports.wording import number

PAPER_ROUNDING = 0.0005
"""The paper prints one decimal of a percentage: its number is known to half of that."""


class Line(NamedTuple):
    """One line of the frame; percentages stay 0..1, a number that is missing is NaN."""

    table: str
    scale: str
    comparable: bool
    """Whether a difference to the paper's number means something: same data, models and choices."""
    preset: str
    row: str
    kind: str
    """Of the row: paper, frame or extra."""
    model: str
    note: str
    column: str
    group: str
    label: str
    """Of the column."""
    percent: bool
    status: str
    paper: float
    measured: float
    low: float
    high: float
    difference: float
    """measured - paper; NaN throughout where the result is not comparable."""
    outside: bool
    """The paper's number, as far as its rounding tells, is outside our interval; False if not comparable."""
    best: bool
    """The best measured number of its column, ties as printed included."""
    n: int
    why: str


def to_frame(result: TableResult) -> pd.DataFrame:
    """Return one `Line` a cell, rows then columns in the paper's order, all values unrounded.

    Raises:
        BenchError: A cell is missing, or two rows have one name.
    """
    twice = [label for label, count in Counter(row.label for row in result.rows).items() if count > 1]
    if twice:
        raise BenchError(f"{result.name} has two rows called '{twice[0]}': give your model another label")
    cells = {(cell.row, cell.column): cell for cell in result.cells}
    plain = [_line(result, row, column, cells) for row in result.rows for column in result.columns]
    best = {
        column.key: _best([line for line in plain if line.column == column.key], column) for column in result.columns
    }
    return pd.DataFrame(
        [line._replace(best=line.row in best[line.column]) for line in plain], columns=list(Line._fields)
    )


def lines(frame: pd.DataFrame) -> list[Line]:
    """Return the frame's lines with their types."""
    return [Line(*values) for values in frame.itertuples(index=False, name=None)]


def by_row(frame: pd.DataFrame) -> dict[str, list[Line]]:
    """Return the lines of each row, in the order of the table."""
    return {row: list(group) for row, group in groupby(lines(frame), key=lambda line: line.row)}


def _line(result: TableResult, row: Row, column: Column, cells: Mapping[tuple[str, str], Cell]) -> Line:
    cell = cells.get((row.label, column.key))
    if cell is None:
        raise BenchError(f"{result.name} has no cell for row '{row.label}' and column '{column.key}': score it again")
    paper, measured, low, high = map(_known, (cell.paper, cell.measured, cell.low, cell.high))
    comparable = result.comparable and not column.apart
    difference = measured - paper if comparable else math.nan
    slack = PAPER_ROUNDING if column.percent else 0.0
    return Line(
        table=result.name,
        scale=result.scale,
        comparable=comparable,
        preset=result.preset,
        row=row.label,
        kind=row.kind,
        model=row.model or "",
        note=row.note,
        column=column.key,
        group=column.group,
        label=column.label,
        percent=column.percent,
        status=cell.status,
        paper=paper,
        measured=measured,
        low=low,
        high=high,
        difference=difference,
        outside=not math.isnan(difference) and (paper < low - slack or paper > high + slack),
        best=False,
        n=cell.n,
        why=cell.why or (f"other protocol: {column.apart}" if column.apart and cell.status == "measured" else ""),
    )


def _known(value: float | None) -> float:
    return float(value) if value is not None and math.isfinite(value) else math.nan


def _best(cells: list[Line], column: Column) -> set[str]:
    """Return the rows with a column's best number.

    Frames do not compete; a column with a single competitor has no best, nor has one whose values are no
    percentages and of which nobody said that less is better, because which way is good is then unknown.
    """
    competing = [x for x in cells if x.kind != "bound" and not math.isnan(x.measured)]
    if len(competing) < 2 or not (column.percent or column.less):
        return set()
    best = number((min if column.less else max)(x.measured for x in competing), column.percent)
    return {x.row for x in competing if number(x.measured, column.percent) == best}


class Gap(NamedTuple):
    """Cells that have no measured number for one and the same reason."""

    status: str
    why: str
    where: str
    """The cells in words: rows, each with its columns unless all are meant."""


def gaps(frame: pd.DataFrame) -> list[Gap]:
    """Return why cells have no measured number, one entry a reason, in the order of the table."""
    reasons: dict[tuple[str, str], dict[str, list[Line]]] = {}
    for line in lines(frame):
        if math.isnan(line.measured):
            reasons.setdefault((line.status, line.why), {}).setdefault(line.row, []).append(line)
    table = by_row(frame)
    return [
        Gap(status, why, "; ".join(_where(missing, table[row]) for row, missing in rows.items()))
        for (status, why), rows in reasons.items()
    ]


def _where(missing: list[Line], whole: list[Line]) -> str:
    row = missing[0].row
    return row if len(missing) == len(whole) else f"{row} ({', '.join(_columns(missing, whole))})"


def _columns(missing: list[Line], whole: list[Line]) -> Iterator[str]:
    """Yield a group's name where all its columns are missing, else its name with those that are."""
    for group, part in groupby(missing, key=lambda line: line.group):
        labels = [line.label for line in part]
        entire = len(labels) == sum(line.group == group for line in whole)
        yield group if entire and group else f"{group} {', '.join(labels)}".strip()
