"""The differences the paper claims beside ours, as a matrix: a line a pair of methods."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from protocols.results import Column, Comparison, TableResult
from reports import wording

MARKS = {"same order": "✓", "opposite order": "✗", "not decided": "~", "not measured": "–"}
"""Signs of the verdicts; a verdict without a sign is written out."""
DECIDED = ("same order", "opposite order")


class Difference(NamedTuple):
    """What a table shows of one comparison."""

    paper: str
    measured: str
    margin: str
    """Plus-minus the wider side of the interval."""
    interval: str
    verdict: str
    """Without details."""
    mark: str
    """Its sign."""
    details: str
    """Of the verdict, such as a p-value."""
    ends: tuple[float, float, float] | None
    """Low, measured, high to draw, 0..1; None without them or where the column is no percentage."""


class Pair(NamedTuple):
    """One line: first - second."""

    first: str
    second: str
    differences: list[Difference | None]
    """In the order of the columns; None where the paper compares nothing."""


class Matrix(NamedTuple):
    """All comparisons of a result."""

    columns: list[Column]
    """Those that are compared at all."""
    pairs: list[Pair]
    tally: list[tuple[str, str, int]]
    """(mark, verdict, how many): the legend and the outcome in one."""
    shared: str = ""
    """Details that all decided verdicts have, to be said once."""


def matrix(result: TableResult) -> Matrix:
    """Arrange the comparisons of a result, pairs in the order they come in.

    Pairs of which the paper says nothing, and of which nothing was measured, are left out.
    """
    known = {(c.first, c.second) for c in result.comparisons if c.paper is not None or c.measured is not None}
    comparisons = [c for c in result.comparisons if (c.first, c.second) in known]
    found = {(c.first, c.second, c.column): c for c in comparisons}
    compared = {c.column for c in comparisons}
    columns = [column for column in result.columns if column.key in compared]
    pairs = [
        Pair(first, second, [_difference(found.get((first, second, column.key)), column) for column in columns])
        for first, second in dict.fromkeys((c.first, c.second) for c in comparisons)
    ]
    counts = Counter(wording.verdict_word(c.verdict) for c in comparisons)
    order = [*(verdict for verdict in MARKS if verdict in counts), *(v for v in counts if v not in MARKS)]
    tally = [(MARKS.get(verdict, ""), verdict, counts[verdict]) for verdict in order]
    return Matrix(columns, pairs, tally, _shared([cell for pair in pairs for cell in pair.differences if cell]))


def _shared(cells: Sequence[Difference]) -> str:
    details = [cell.details for cell in cells if cell.verdict in DECIDED]
    return details[0] if len(details) > 1 and len(set(details)) == 1 else ""


def shared_line(found: Matrix) -> str:
    """Say what all decided verdicts rest on, nothing where they rest on different things."""
    return f"Decided orders: {found.shared}." if found.shared else ""


def tally_line(tally: list[tuple[str, str, int]]) -> str:
    """Return the outcome in one line.

    >>> tally_line([("✓", "same order", 4), ("~", "not decided", 1)])
    '✓ same order as in the paper: 4; ~ not decided: 1'
    """
    words = {"same order": "same order as in the paper"}
    return "; ".join(f"{mark} {words.get(verdict, verdict)}: {count}".strip() for mark, verdict, count in tally)


def _difference(comparison: Comparison | None, column: Column) -> Difference | None:
    if comparison is None:
        return None
    paper, measured, low, high = (
        math.nan if value is None else value
        for value in (comparison.paper, comparison.measured, comparison.low, comparison.high)
    )
    known = not math.isnan(measured)
    drawn = column.percent and known and math.isfinite(low) and math.isfinite(high)
    verdict = wording.verdict_word(comparison.verdict)
    return Difference(
        paper=wording.signed(paper, column.percent),
        measured=wording.signed(measured, column.percent),
        margin=wording.plus_minus(measured, low, high, column.percent) if known else "",
        interval=wording.bracket(low, high, column.percent, sign=True) if known else "",
        verdict=verdict,
        mark=MARKS.get(verdict, verdict),
        details=wording.verdict_details(comparison.verdict),
        ends=(low, measured, high) if drawn else None,
    )
