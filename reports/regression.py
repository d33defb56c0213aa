"""What the regression gate found, for a terminal and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.errors import printable
from protocols.results import Finding

HEADS = ("table", "row", "column", "expected", "found", "off by", "may be", "since")
"""Columns of the table of what drifted."""
PIPE_WIDTH = 160
"""Characters assumed where there is no terminal."""


def print_findings(findings: Sequence[Finding], changed: Sequence[str]) -> None:
    """Print what drifted, and in any case what was compared and how near the tolerance the nearest came.

    Args:
        findings: all comparisons.
        changed: what is not as it was when the expectations were made, in words.
    """
    console = Console()
    console = console if console.is_terminal else Console(width=PIPE_WIDTH)
    drifted = [one for one in findings if one.drifted]
    if drifted:
        table = Table(title="Drifted", box=None)
        for head in HEADS:
            table.add_column(head, no_wrap=head in HEADS[:3])
        for one in drifted:
            table.add_row(*(Text(printable(text)) for text in _line(one)))
        console.print(table)
    for line in _summary(findings, changed):
        console.print(Text(printable(line)), highlight=False)


def as_markdown(findings: Sequence[Finding], changed: Sequence[str], command: str) -> str:
    """Return the same as Markdown, with all comparisons of each table folded away below.

    Args:
        findings: all comparisons.
        changed: what is not as it was when the expectations were made, in words.
        command: that made it.
    """
    drifted = [one for one in findings if one.drifted]
    verdict = f"{len(drifted)} of {len(findings)} comparisons drifted" if drifted else "nothing drifted"
    lines = [f"## Regression: {verdict}", ""]
    if drifted:
        lines += [*_markdown(drifted), ""]
    lines += [f"- {line}" for line in _summary(findings, changed)]
    for table, of_table in groupby(sorted(findings, key=lambda one: one.table), key=lambda one: one.table):
        lines += ["", f"<details><summary>{table}</summary>", "", *_markdown(list(of_table)), "", "</details>"]
    return "\n".join([*lines, "", f"Again: `{command}`", ""])


def _markdown(findings: Sequence[Finding]) -> Iterator[str]:
    yield f"| {' | '.join(HEADS)} |"
    yield f"|{'---|' * len(HEADS)}"
    for one in findings:
        yield f"| {' | '.join(printable(text).replace('|', '/') for text in _line(one))} |"


def _line(one: Finding) -> tuple[str, ...]:
    if one.level == "records":
        off, may = f"{100 * one.difference:.1f} % of records", f"{100 * one.tolerance:.1f} %"
        return one.table, one.row, one.column, "", one.said, off, may, one.why
    numbers = ["" if value is None else _number(value, one.percent) for value in (one.expected, one.found)]
    numbers[1] = numbers[1] or one.said
    off = "" if math.isinf(one.difference) else f"{_number(one.difference, one.percent, sign=True)}"
    return one.table, one.row, one.column, *numbers, off or one.said, _number(one.tolerance, one.percent), one.why


def _number(value: float, percent: bool, *, sign: bool = False) -> str:
    """Return a value with two decimals, one more than tables print.

    >>> _number(0.12345, True), _number(-0.002, True, sign=True)
    ('12.35', '-0.20')
    """
    return f"{value * (100 if percent else 1):{'+' if sign else ''}.2f}"


def _summary(findings: Sequence[Finding], changed: Sequence[str]) -> Iterator[str]:
    """Say how much was compared, what records show that means do not, and what changed since."""
    for level, words in (("mean", "means of cells"), ("records", "sets of records")):
        every = [one for one in findings if one.level == level]
        if not every:
            continue
        nearest, share = max(((one, abs(one.difference) / one.tolerance) for one in every), key=lambda pair: pair[1])
        drifted = sum(one.drifted for one in every)
        yield (
            f"{len(every):,} {words} compared, {drifted:,} drifted; nearest to its tolerance is {nearest.table} "
            f"{nearest.row} {nearest.column}, {share:.0%} of it"
        )
    held = {(one.table, one.row, one.column) for one in findings if one.level == "mean" and not one.drifted}
    for one in findings:
        if one.drifted and one.level == "records" and (one.table, one.row, one.column) in held:
            yield f"{one.table} {one.row} {one.column}: the mean held, but {one.said}"
    yield from (f"since the expectations were made, {change}" for change in changed)
