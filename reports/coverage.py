"""What a report covers: which of the paper's numbers were measured, which agree, and why the others were not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd

from protocols.results import TableResult
from reports import wording
from reports.dataframe import Line, by_row, lines
from reports.document import Numbers

JUDGED = ("same order", "opposite order", "not decided")
"""Verdicts on the order of two methods that the paper claims."""


class Cells(NamedTuple):
    """How many of the paper's numbers have which outcome."""

    printed: int
    """By the paper."""
    agree: int
    """The paper's number lies in our interval."""
    differ: int
    """It lies outside."""
    apart: int
    """Measured and not compared: other data, models or choices, or no interval."""
    missing: int

    @property
    def measured(self) -> int:
        """Return how many were measured at all."""
        return self.agree + self.differ + self.apart


def outcome(line: Line) -> str:
    """Return the outcome of a cell: agree, differ, apart or missing (fields of `Cells`)."""
    if math.isnan(line.measured):
        return "missing"
    if math.isnan(line.difference) or math.isnan(line.low) or math.isnan(line.high):
        return "apart"
    return "differ" if line.outside else "agree"


def printed(found: Numbers) -> list[Line]:
    """Return the cells that the paper has a number for."""
    return [line for line in lines(found.frame) if line.kind != "bound" and not math.isnan(line.paper)]


def count(found: Sequence[Numbers]) -> Cells:
    """Return the outcomes of all of the paper's numbers in some tables."""
    counts = Counter(outcome(line) for one in found for line in printed(one))
    return Cells(counts.total(), *(counts[name] for name in Cells._fields[1:]))


def row_status(row: Sequence[Line], word: str) -> str:
    """Say in a few words what became of a method's cells.

    Args:
        row: its cells.
        word: for what was measured and is not compared, see `wording.measured_word`.
    """
    apart = "measured" if word == "measured" else f"measured ({word})"
    found = ((outcome(line), line.status) for line in row)
    counts = Counter(apart if one == "apart" else status if one == "missing" else one for one, status in found)
    if len(counts) == 1:
        (said,) = counts
        return {"agree": "agrees", "differ": "differs"}.get(said, said)
    return ", ".join(f"{n} {said}" for said, n in counts.items())


def statuses(result: TableResult, frame: pd.DataFrame) -> dict[str, str]:
    """Return what became of each row, by its name."""
    word = wording.measured_word(result)
    return {row: row_status(cells, word) for row, cells in by_row(frame).items()}


def common_status(result: TableResult, frame: pd.DataFrame) -> str:
    """Return what became of all rows alike, nothing where they differ."""
    found = set(statuses(result, frame).values())
    return found.pop() if len(found) == 1 else ""


def legend(result: TableResult, frame: pd.DataFrame) -> str:
    """Say how to read a printed table."""
    said = f"{wording.measured_word(result)}: ± the wider side of its interval ({result.interval}); bold: best of its "
    said += "column."
    if frame["outside"].any():
        said += f" {wording.OUTSIDE}: the paper's number lies outside that interval."
    status = common_status(result, frame)
    return said + (f" Status of every row: {status}." if status else "")


class Reason(NamedTuple):
    """Why some of the paper's numbers were not measured."""

    status: str
    why: str
    tables: tuple[str, ...]
    cells: int


def reasons(found: Sequence[Numbers]) -> list[Reason]:
    """Return why cells have no number, one entry a reason, those of most cells first."""
    tables: dict[tuple[str, str], dict[str, None]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for one in found:
        for line in printed(one):
            if math.isnan(line.measured):
                key = line.status, line.why or wording.LEGEND[line.status]
                tables.setdefault(key, {})[one.result.name] = None
                counts[key] += 1
    return [Reason(*key, tuple(tables[key]), cells) for key, cells in counts.most_common()]


def orders(results: Sequence[TableResult]) -> dict[str, int]:
    """Return how many of the paper's claimed orders of two methods came out how, by verdict."""
    counts = Counter(wording.verdict_word(one.verdict) for result in results for one in result.comparisons)
    return {verdict: counts[verdict] for verdict in JUDGED}


def abstract(found: Sequence[Numbers]) -> Iterator[str]:
    """Yield paragraphs that say what the report covers, from its data alone."""
    cells, tables = count(found), [one.result.name for one in found]
    measured = [one for one in found if count([one]).measured]
    yield (
        f"This report holds {len(tables)} tables and figures of the paper, in which it prints {cells.printed:,} "
        f"numbers. {cells.measured:,} of them were measured again, in {len(measured)} tables and figures: "
        f"{cells.agree:,} of the paper's numbers lie within our 95 % interval, {cells.differ:,} lie outside, and "
        f"{cells.apart:,} were measured on other data, with other models or otherwise than in the paper, and are not "
        f"compared with it. {cells.missing:,} were not measured here."
    )
    verdicts = orders([one.result for one in found])
    if any(verdicts.values()):
        yield (
            f"Of {sum(verdicts.values()):,} orders of two methods that the paper claims and that were measured, "
            f"{verdicts['same order']:,} came out the same, {verdicts['opposite order']:,} opposite, and "
            f"{verdicts['not decided']:,} are not decided: the 95 % interval of the difference holds 0."
        )
    by_status = Counter[str]()
    for reason in reasons(found):
        by_status[reason.status] += reason.cells
    if by_status:
        said = [f"{wording.LEGEND[status]} ({cells:,})" for status, cells in by_status.most_common()]
        yield f"Why numbers were not measured here: {'; '.join(said)}."
    scales = Counter(wording.place(one.result) for one in measured)
    if scales:
        places = (
            f"{tables} {'tables and figures' if tables > 1 else 'table'} at {place}" for place, tables in scales.items()
        )
        yield f"Measured: {', '.join(places)}."
