"""Every claim that the paper's text puts into numbers, and what its own tables say of it.

statements.csv has a claim a line, in our words: where it stands, what it is about (`protocols.paper.expressions`), and
the number of the text. What the tables give is computed from their CSVs each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from protocols.paper import printed_number
from protocols.paper.expressions import Part, read

Relation = Literal["", "about", "more than"]
Agreement = Literal["agrees", "agrees within rounding", "another number", "not in a table"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of the text."""

    id: str
    section: str
    statement: str
    """In our words."""
    expression: str
    relation: Relation
    """How the text puts the number: as it is, about, more than."""
    claimed: str
    """As printed, in the unit of the column (percent points, millions, times); empty for an order."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return what it is about, one by one."""
        return read(self.expression)

    @property
    def said(self) -> str:
        """Return the number as the text puts it, empty for an order."""
        return f"{self.relation} {self.claimed}".strip() if self.claimed else ""


@dataclass(frozen=True, slots=True)
class InTables:
    """What the paper's tables say of a claim."""

    agreement: Agreement
    value: float | None
    """What the tables give for the number claimed; None for an order, and for what no table has."""
    words: str
    """Where text and tables differ, e.g. "text 1.1, table 0.4"."""


class Difference(NamedTuple):
    """A difference that the text states, first - second, of a column in percent."""

    first: str
    second: str
    column: str
    claimed: float
    """0..1."""
    note: str
    """What the table gives, if another number; else empty."""


@cache
def claims() -> tuple[Claim, ...]:
    """Return all claims, in the order of the paper's sections and tables."""
    frame = pd.read_csv(Path(__file__).with_name("statements.csv"), dtype=str, keep_default_na=False)
    return tuple(Claim(**line) for line in frame.to_dict("records"))  # type: ignore[arg-type]


@cache
def differences(table: str) -> tuple[Difference, ...]:
    """Return the differences that the text states about a table or figure whose columns are percentages."""
    return tuple(
        Difference(
            part.first.row,
            part.second.row,
            part.first.column,
            round(float(claim.claimed) / 100, 6),
            f"the table gives {given.value:g}" if given.agreement == "another number" else "",
        )
        for claim in claims()
        for given in [in_tables(claim)]
        for part in claim.parts
        if part.first.table == table and part.sign == "-" and part.second is not None
    )


def in_tables(claim: Claim) -> InTables:
    """Compare a claim with the paper's own tables.

    A number agrees if the table's, rounded to the digits of the text, is the text's; within rounding if printed numbers
    that were rounded can hide the difference.
    """
    known = [part for part in claim.parts if _low_high(part) is not None]
    if len(known) < len(claim.parts):
        return InTables("not in a table", None, "")
    if not claim.claimed:
        return _order(claim)
    checks = [_number(claim, part) for part in claim.parts]
    return next((one for one in checks if one.agreement != "agrees"), checks[0])


def _order(claim: Claim) -> InTables:
    for part in claim.parts:
        assert part.second is not None
        first, second = (Decimal(printed_number(*place)) for place in (part.first, part.second))
        if not (first >= second if part.sign == ">=" else first > second):
            return InTables("another number", None, f"table: {part.first.row} {first}, {part.second.row} {second}")
    return InTables("agrees", None, "")


def _number(claim: Claim, part: Part) -> InTables:
    claimed, value, ends = Decimal(claim.claimed), _value(part), _low_high(part)
    assert value is not None
    assert ends is not None
    given = float(round(value, 1 if part.sign == "/" else 6))
    words = f"text {claim.claimed}, table {given:g}"
    step = Decimal(1).scaleb(int(claimed.as_tuple().exponent))
    if claim.relation == "more than":
        return InTables("agrees", given, "") if value > claimed else InTables("another number", given, words)
    if value.quantize(step, ROUND_HALF_UP) == claimed:
        return InTables("agrees", given, "")
    near = ends[0] < claimed + step / 2 and claimed - step / 2 < ends[1]
    return InTables("agrees within rounding" if near else "another number", given, words)


def _value(part: Part) -> Decimal | None:
    """Return what the printed numbers give, None where one of them is not printed."""
    found = [printed_number(*place) for place in (part.first, part.second) if place is not None]
    if not all(found):
        return None
    return _combined(part, *(Decimal(text) for text in found))


def _low_high(part: Part) -> tuple[Decimal, Decimal] | None:
    """Return between what the number must have been before the printed ones were rounded."""
    if _value(part) is None:
        return None
    ends = [_ends(printed_number(*place)) for place in (part.first, part.second) if place is not None]
    if len(ends) == 1:
        return ends[0]
    (low, high), (other_low, other_high) = ends
    return _combined(part, low, other_high), _combined(part, high, other_low)


def _combined(part: Part, first: Decimal, second: Decimal | None = None) -> Decimal:
    if second is None:
        return first
    return first / second if part.sign == "/" else first - second


def _ends(text: str) -> tuple[Decimal, Decimal]:
    """Return the least and the largest number that is printed so.

    >>> _ends("84.0")
    (Decimal('83.95'), Decimal('84.05'))
    """
    value = Decimal(text)
    half = Decimal(1).scaleb(int(value.as_tuple().exponent)) / 2
    return value - half, value + half
