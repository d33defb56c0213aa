"""A table as one self-contained HTML page: inline style, plots as data, nothing to load, light and dark."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from protocols.results import Column, TableResult
from reports import wording
from reports.comparisons import Difference, Matrix, Pair, matrix, shared_line, tally_line
from reports.coverage import row_status
from reports.dataframe import Line, by_row, gaps
from reports.plot import DARK, recolour

TEMPLATES = Path(__file__).parent / "templates"
VERDICTS = {"same order": "good", "opposite order": "bad", "not decided": "open"}


class _Entry(NamedTuple):
    """What one cell of the page shows."""

    value: str
    margin: str
    paper: str
    difference: str
    mark: str
    classes: str
    title: str
    interval: str
    sort: str
    """Our number, or nothing."""


class _Row(NamedTuple):
    label: str
    letter: str
    model: str
    kind: str
    entries: list[_Entry]
    status: str


class _Whisker(NamedTuple):
    """An interval drawn: positions in percent of the drawing's width, zero in the middle."""

    low: float
    dot: float
    high: float


class View(NamedTuple):
    """What a page shows of a result, in words; templates/tables.html.j2 says where."""

    result: TableResult
    word: str
    caution: str
    place: str
    groups: list[tuple[str, int]]
    paired_groups: list[tuple[str, int]]
    rows: list[_Row]
    any_outside: bool
    outside: str
    gaps: list[tuple[str, str, str]]
    notes: list[tuple[str, str]]
    matrix: Matrix
    tally: str
    shared: str
    whiskers: list[list[_Whisker | None]]
    verdicts: dict[str, str]


def view_of(result: TableResult, frame: pd.DataFrame) -> View:
    """Return what a page shows of a result."""
    found = matrix(result)
    return View(
        result=result,
        word=wording.measured_word(result),
        caution=wording.caution(result),
        place=wording.place(result),
        groups=_groups(result, result.columns),
        paired_groups=_groups(result, found.columns),
        rows=_rows(result, frame),
        any_outside=bool(frame["outside"].any()),
        outside=wording.OUTSIDE,
        gaps=[(wording.MARKS[gap.status], gap.where, gap.why or wording.LEGEND[gap.status]) for gap in gaps(frame)],
        notes=wording.notes(result),
        matrix=found,
        tally=tally_line(found.tally),
        shared=shared_line(found),
        whiskers=_whiskers(found.pairs),
        verdicts=VERDICTS,
    )


def to_html(result: TableResult, frame: pd.DataFrame, svg: bytes, siblings: tuple[str, ...] = ()) -> str:
    """Render the frame of a result as a page.

    Args:
        result: The table.
        frame: Its frame.
        svg: Its plot, light.
        siblings: Names of files beside the page that hold the same numbers, to link to.
    """
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            result=result,
            view=view_of(result, frame),
            provenance=wording.flatten(result.provenance),
            plots=plots(svg),
            siblings=siblings,
        )
    )


def plots(svg: bytes) -> dict[str, str]:
    """Return the addresses of a drawing, light and dark."""
    return {"light": address(svg, "image/svg+xml"), "dark": address(recolour(svg, DARK), "image/svg+xml")}


def environment() -> Environment:
    """Return what renders the templates: every text from outside is escaped."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters["minus"] = lambda text: text.replace("-", "−")
    return found


def address(picture: bytes, kind: str) -> str:
    """Return a picture as an address: inside an img nothing of it, labels included, can touch the page."""
    return f"data:{kind};base64,{base64.b64encode(picture).decode()}"


def _groups(result: TableResult, all_columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return the headings over columns, each with how many it spans."""
    return [
        (wording.group_name(result, group), len(list(columns)))
        for group, columns in groupby(all_columns, key=lambda column: column.group)
    ]


def _rows(result: TableResult, frame: pd.DataFrame) -> list[_Row]:
    table, letters = by_row(frame), wording.note_letters(result.rows)
    starts = {next(columns).key for _, columns in groupby(result.columns, key=lambda column: column.group)}
    return [
        _Row(
            row.label,
            letters.get(row.note, ""),
            row.model or "",
            row.kind,
            [_entry(line, starts) for line in table.get(row.label, [])],
            row_status(table.get(row.label, []), wording.measured_word(result)),
        )
        for row in result.rows
    ]


def _entry(line: Line, starts: set[str]) -> _Entry:
    missing = math.isnan(line.measured)
    flags = {"start": line.column in starts, "best": line.best, "outside": line.outside, "missing": missing}
    return _Entry(
        value=wording.number(line.measured, line.percent),
        margin=wording.plus_minus(line.measured, line.low, line.high, line.percent),
        paper=wording.number(line.paper, line.percent),
        difference=wording.signed(line.difference, line.percent) + (wording.OUTSIDE if line.outside else ""),
        mark=wording.MARKS[line.status] if missing else "",
        classes=" ".join(name for name, on in flags.items() if on),
        title=_title(line),
        interval=wording.bracket(line.low, line.high, line.percent),
        sort="" if missing else repr(line.measured),
    )


def _title(line: Line) -> str:
    """Return the words that hovering shows: the whole cell, down to how many prompts are behind it."""
    outcome = line.status
    if not math.isnan(line.measured):
        interval = wording.bracket(line.low, line.high, line.percent)
        outcome = f"measured {wording.number(line.measured, line.percent)} {interval}".strip()
    parts = [f"{line.row}, {f'{line.group} {line.label}'.strip()}: {outcome}"]
    if not math.isnan(line.paper):
        parts.append(f"paper {wording.number(line.paper, line.percent)}")
    if not math.isnan(line.difference):
        parts.append(f"difference {wording.signed(line.difference, line.percent)}")
    if line.n:
        parts.append(f"n = {line.n:,}")
    return "; ".join([*parts, line.why] if line.why else parts)


def _whiskers(pairs: list[Pair]) -> list[list[_Whisker | None]]:
    """Return a drawing for each difference of each pair; those of one column share a scale."""
    columns = [_column_of_whiskers(column) for column in zip(*(pair.differences for pair in pairs), strict=True)]
    return [list(line) for line in zip(*columns, strict=True)]


def _column_of_whiskers(column: Sequence[Difference | None]) -> list[_Whisker | None]:
    ends = [cell.ends if cell else None for cell in column]
    reach = 1.1 * max((abs(x) for three in ends if three for x in three), default=0)
    if not reach:
        return [None] * len(ends)
    return [_Whisker(*(round(50 + 50 * x / reach, 2) for x in three)) if three else None for three in ends]
