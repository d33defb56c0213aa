"""A check and what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Outcome = Literal["ok", "wrong", "undecided"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found."""

    outcome: Outcome
    """undecided: the model answered nothing that would tell."""
    said: str
    """One sentence: what was seen, and if it is wrong, the likely mistake."""
    values: Mapping[str, float] = field(default_factory=dict)
    """What was measured, by name; the unit is part of the name."""


class Check(NamedTuple):
    """One line of the report."""

    name: str
    function: Callable[[Any], Verdict]
    """Called with the segmenter; whatever it raises is a finding, too."""
    images: int
    """How many images it encodes: what it costs, for progress."""
    first: bool = False
    """Whether nothing else can be checked where it fails."""


def ok(said: str, **values: float) -> Verdict:
    """Return that all is well."""
    return Verdict("ok", said, values)


def wrong(said: str, **values: float) -> Verdict:
    """Return that a table of this model would be wrong, or never be finished."""
    return Verdict("wrong", said, values)


def undecided(said: str, **values: float) -> Verdict:
    """Return that this cannot be told."""
    return Verdict("undecided", said, values)
