"""The claims ledger: each claim of the paper's text against its own tables, and against what was measured.

Where the data and models are the paper's, a measured number is set against the claimed one. Elsewhere (the micro scale,
some of the images, another protocol) only the direction of a difference says anything, and only of that world.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from protocols.paper.expressions import Part
from protocols.paper.ledger import Claim, InTables, claims, in_tables
from protocols.results import Cell, Column, Comparison, TableResult

Outcome = Literal["holds", "contradicted", "undecided", "not measurable", "not measured"]
"""undecided: the interval holds both answers. not measurable: not with the data and models of the result. not measured:
there is no result of that table, or of that row."""
ASSUMED = (
    "how many would decide: n x (half-width / difference)^2, if the interval narrows with the square root of their "
    "number and the measured difference is the true one; with so many, an interval leaves out 0 in about every second "
    "such measurement; with few trainings it narrows faster than that, and fewer may do"
)
SHOWN = 2
"""Reasons that a claim of many parts is told with; `Verdict.findings` has them all."""
OF_ALL = frozenset({"params_m"})
"""Columns that do not depend on data: full-size models alone make them the paper's."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured of one part of a claim, in printed units (percent points, millions, times)."""

    about: str
    outcome: Outcome
    why: str = ""
    """Why it is not decided or not measured, or what a reader must know of the number."""
    measured: float | None = None
    low: float | None = None
    """Lower end of the 95 % interval; None where there is none."""
    high: float | None = None
    wanted: int | None = None
    """How many would decide, where it is undecided, see `ASSUMED`."""
    unit: str = ""
    """images, prompts or trainings."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A claim, what the paper's tables say of it, and what was measured."""

    claim: Claim
    tables: InTables
    outcome: Outcome
    why: str
    scale: str
    """Of the results that were measured: paper, micro or mixed; empty if none."""
    findings: tuple[Finding, ...]


def judge(results: Sequence[TableResult]) -> list[Verdict]:
    """Return a verdict on every claim; of several results of a table the last counts, those on own data never."""
    of_name = {result.name: result for result in results if not result.own}
    return [_verdict(claim, of_name) for claim in claims()]


def needed(n: int, value: float, low: float, high: float) -> int | None:
    """Return how many of what an interval rests on would decide a difference, in two digits; None for none.

    >>> needed(100, 1.0, -1.0, 3.0)
    400
    """
    if not value:
        return None
    exact = n * ((high - low) / 2 / abs(value)) ** 2
    step = 10 ** max(0, math.floor(math.log10(exact)) - 1) if exact >= 1 else 1
    return max(n + 1, math.ceil(round(exact / step, 6)) * step)


def _verdict(claim: Claim, results: Mapping[str, TableResult]) -> Verdict:
    findings = tuple(_find(claim, part, results.get(part.first.table)) for part in claim.parts)
    scales = {results[part.first.table].scale for part in claim.parts if part.first.table in results}
    outcome = _all_of(findings)
    return Verdict(claim, in_tables(claim), outcome, _why(findings, outcome), "".join(sorted(scales)), findings)


def _all_of(findings: Sequence[Finding]) -> Outcome:
    """Return the outcome of a claim that holds if all its parts do."""
    found = {one.outcome for one in findings}
    order: tuple[Outcome, ...] = ("contradicted", "not measured", "not measurable", "undecided", "holds")
    return next(outcome for outcome in order if outcome in found)


def _why(findings: Sequence[Finding], outcome: Outcome) -> str:
    """Say what decided, part by part where there are several, reasons that are the same once."""
    if len(findings) == 1:
        return findings[0].why
    counts = Counter(one.outcome for one in findings)
    said = ", ".join(f"{count} {'hold' if name == 'holds' else name}" for name, count in counts.items())
    told: dict[str, list[str]] = {}
    for one in findings:
        if one.outcome == outcome and one.why:
            told.setdefault(one.why, []).append(one.about)
    if outcome == "holds":
        reasons = list(dict.fromkeys(why.partition("; ")[0] for why in told))
    else:
        reasons = [f"{_first(about)}: {why}" for why, about in told.items()]
    more = [f"{len(reasons) - SHOWN} further reasons"] if len(reasons) > SHOWN else []
    return f"of {len(findings)} parts {said}" + (f": {'; '.join(reasons[:SHOWN] + more)}" if reasons else "")


def _first(about: Sequence[str]) -> str:
    """Return the first of several parts, and how many more there are."""
    return about[0] + (f" and {len(about) - 1} more" if len(about) > 1 else "")


def _find(claim: Claim, part: Part, result: TableResult | None) -> Finding:
    """Judge one part by the result of its table."""
    if result is None:
        return Finding(part.words, "not measured", f"`bench run {part.first.table}` measures it")
    column = next((one for one in result.columns if one.key == part.first.column), None)
    if column is None:
        return Finding(part.words, "not measured", f"this result of {result.name} has no such column")
    if column.apart:
        return Finding(part.words, "not measurable", f"measured under another protocol: {column.apart}")
    alike = result.comparable or (result.scale == "paper" and column.key in OF_ALL)
    return _single(claim, part, result, column, alike) if part.second is None else _pair(claim, part, result, alike)


def _pair(claim: Claim, part: Part, result: TableResult, alike: bool) -> Finding:
    """Judge a difference, an order or a ratio: paired where the table compares the rows, else from their cells."""
    assert part.second is not None
    column = next(one for one in result.columns if one.key == part.first.column)
    comparison = _compared(result, part)
    unit = 100.0 if column.percent else 1.0
    if part.sign != "/" and comparison is not None and comparison.measured is not None:
        found = _in_unit(comparison, unit, part.words)
        finding = _by_interval(found, 0, result, column, comparison)
    else:
        cells = [_cell(result, row, column.key) for row in (part.first.row, part.second.row)]
        for row, cell in zip((part.first.row, part.second.row), cells, strict=True):
            if cell is None or cell.measured is None:
                return _absent(part, row, cell)
        assert cells[0] is not None
        assert cells[1] is not None
        found = _of_cells(part, cells[0], cells[1], unit, result)
        finding = _by_interval(found, 1 if part.sign == "/" else 0, result, column, None)
    return _sized(claim, finding) if alike else _here(finding, result)


def _single(claim: Claim, part: Part, result: TableResult, column: Column, alike: bool) -> Finding:
    """Judge a number: only where it is of the paper's data and models."""
    if not alike:
        world = "a micro world" if result.scale == "micro" else "other data or models"
        return Finding(part.words, "not measurable", f"a number of {world} says nothing of the paper's")
    cell = _cell(result, part.first.row, column.key)
    if cell is None or cell.measured is None:
        return _absent(part, part.first.row, cell)
    unit = 100.0 if column.percent else 1.0
    low, high = (cell.measured if end is None else end for end in (cell.low, cell.high))
    near = _inside(claim, unit * low, unit * high)
    found = Finding(part.words, "holds" if near else "contradicted", "", unit * cell.measured, unit * low, unit * high)
    return found if near else replace(found, why=f"the text says {claim.said}")


def _absent(part: Part, row: str, cell: Cell | None) -> Finding:
    """Say why a row has no number."""
    if cell is None or cell.status == "not requested":
        return Finding(part.words, "not measured", f"{row} was not asked for")
    return Finding(
        part.words, "not measurable", ": ".join(t for t in (row, cell.status, cell.why.partition("; ")[0]) if t)
    )


def _compared(result: TableResult, part: Part) -> Comparison | None:
    """Return the table's comparison of both rows, with the sign that the claim has."""
    assert part.second is not None
    rows, column = (part.first.row, part.second.row), part.first.column
    for one in result.comparisons:
        if one.column == column and (one.first, one.second) == rows:
            return one
        if one.column == column and (one.second, one.first) == rows and one.measured is not None:
            low, high = (None if end is None else -end for end in (one.high, one.low))
            return replace(one, first=rows[0], second=rows[1], measured=-one.measured, low=low, high=high)
    return None


def _in_unit(comparison: Comparison, unit: float, about: str) -> Finding:
    assert comparison.measured is not None
    low, high = (None if end is None else unit * end for end in (comparison.low, comparison.high))
    return Finding(about, "undecided", "", unit * comparison.measured, low, high)


def _of_cells(part: Part, first: Cell, second: Cell, unit: float, result: TableResult) -> Finding:
    """Return a difference or ratio of two numbers that no table compares; their errors are taken as independent."""
    assert first.measured is not None
    assert second.measured is not None
    if part.sign == "/":
        ends = [_ends(cell) for cell in (first, second)]
        value, low, high = first.measured / second.measured, ends[0][0] / ends[1][1], ends[0][1] / ends[1][0]
        why = "" if low == high else f"from the ends of both ({result.interval})"
        return Finding(part.words, "undecided", why, value, low, high)
    value = first.measured - second.measured
    half = math.hypot(*((cell.high - cell.low) / 2 for cell in (first, second) if cell.high and cell.low is not None))
    why = "not paired: the table does not compare these rows, their errors are taken as independent"
    known = all(cell.low is not None and cell.high is not None for cell in (first, second))
    ends_of = (unit * (value - half), unit * (value + half)) if known else (None, None)
    return Finding(part.words, "undecided", why, unit * value, *ends_of)


def _ends(cell: Cell) -> tuple[float, float]:
    """Return the interval of a number; of one that is exact, itself."""
    assert cell.measured is not None
    return (cell.measured if cell.low is None else cell.low, cell.measured if cell.high is None else cell.high)


def _by_interval(
    found: Finding, null: float, result: TableResult, column: Column, comparison: Comparison | None
) -> Finding:
    """Decide by whether an interval holds what two equal rows would give: a difference of 0, a ratio of 1."""
    assert found.measured is not None
    details = re.search(r"\((.*)\)$", comparison.verdict) if comparison else None
    why = details[1] if details else found.why
    if found.low is None or found.high is None:
        return replace(found, why=why or "no interval: it rests on one image or training")
    apart = found.low > null or found.high < null
    if apart and comparison is not None and comparison.verdict.startswith("not decided"):
        return replace(found, why=_joined(why, "the table does not call this decided"))
    if apart:
        return replace(found, outcome="holds" if found.low > null else "contradicted", why=why)
    n, unit = _sample(result, column, comparison)
    wanted = needed(n, found.measured - null, found.low, found.high) if n else None
    more = f"about {wanted:,} {unit} would decide, here {n:,}" if wanted else ""
    return replace(found, why=_joined(why, more), wanted=wanted, unit=unit if wanted else "")


def _sample(result: TableResult, column: Column, comparison: Comparison | None) -> tuple[int, str]:
    """Return how many of what an interval rests on: trainings where there are several, else images, else prompts."""
    if comparison is not None and "trainings" in result.provenance:
        return _trainings(result, comparison), "trainings of each"
    if comparison is not None and (seeds := re.search(r"(\d+) seeds", comparison.verdict)):
        return int(seeds[1]), "trainings of each"
    data = result.provenance.get("data")
    sets = data if isinstance(data, Mapping) else {}
    name = next((one for one in sets if len(sets) == 1 or column.key.startswith(f"{one}_")), None)
    if name is not None and isinstance(sets[name], Mapping) and isinstance(sets[name].get("images"), int):
        return sets[name]["images"], "images"
    return min((cell.n for cell in result.cells if cell.column == column.key and cell.n), default=0), "prompts"


def _trainings(result: TableResult, comparison: Comparison) -> int:
    """Return the trainings that both rows have, of a table that is made from records of them."""
    models = {row.label: row.model for row in result.rows}
    seeds = [
        {name for name in result.provenance["trainings"] if name.startswith(f"{models.get(label)}-seed")}
        for label in (comparison.first, comparison.second)
    ]
    return min(map(len, seeds))


def _sized(claim: Claim, finding: Finding) -> Finding:
    """Set a difference of the paper's own data and models against its size in the text."""
    if not claim.claimed or finding.outcome != "holds" or finding.low is None or finding.high is None:
        return finding
    if claim.relation == "more than" and finding.low <= float(claim.claimed):
        outcome: Outcome = "contradicted" if finding.high <= float(claim.claimed) else "undecided"
        return replace(finding, outcome=outcome, why=_joined(finding.why, f"the text says {claim.said}"))
    near = claim.relation == "more than" or _inside(claim, finding.low, finding.high)
    size = "its size too" if near else f"but not in its size: the text says {claim.said}"
    return replace(finding, why=_joined(finding.why, size))


def _inside(claim: Claim, low: float, high: float) -> bool:
    """Return whether an interval holds the number of the text, which was rounded."""
    decimals = len(claim.claimed.partition(".")[2])
    half = 0.5 * 10.0**-decimals
    return low <= float(claim.claimed) + half and float(claim.claimed) - half <= high


def _here(finding: Finding, result: TableResult) -> Finding:
    """Say that only a direction was judged, and in which world."""
    if finding.outcome not in ("holds", "contradicted"):
        return finding
    world = "in this micro world" if result.scale == "micro" else "not comparable with the paper's number"
    return replace(finding, why=_joined(f"{world}, in direction alone", finding.why))


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def _cell(result: TableResult, row: str, column: str) -> Cell | None:
    return next((cell for cell in result.cells if (cell.row, cell.column) == (row, column)), None)
