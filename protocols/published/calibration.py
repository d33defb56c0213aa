"""The calibration ladder: published numbers as rungs, the choices each depends on, and what a broken one points at.

ladder.csv has the rungs, the cheapest first; their numbers stand in numbers.csv and in the paper's
tables. decisions.csv says what the choices are. A rung that holds clears every choice it depends on, so that
a broken one points at those that no held rung shares. Pure functions; what measures is protocols/published/ladder.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from models.errors import BenchError, unknown_name
from protocols.paper import paper_number, paper_table
from protocols.published import numbers

Scale = Literal["paper", "micro"]
Status = Literal["holds", "broken", "not runnable", "not tried"]
_OF_PAPER = "paper:"
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Rung:
    """One number to meet."""

    name: str
    scale: Scale
    table: str
    """That measures it; empty: the checkpoint's hash is compared."""
    model: str
    """As commands call it."""
    column: str
    protocol: str
    """A preset, also with what differs from it."""
    published: str
    """Whose number: a model of numbers.csv, or paper:ROW; empty: it is measured here by the published operations."""
    tolerance: float
    """Percent points."""
    tolerance_from: str
    depends: tuple[str, ...]
    """Choices that can break it; those of a model's weights with its name."""

    @property
    def what(self) -> str:
        """Say what is measured, in words."""
        if not self.table:
            return f"sha256 of the checkpoint of {self.model}"
        return f"{self.model}, {self.table} {self.column}, protocol {self.protocol}"


class Reference(NamedTuple):
    """The number that a rung is to meet."""

    value: float
    """Percent."""
    source: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of a rung."""

    rung: Rung
    status: Status
    reference: Reference | None = None
    measured: float | None = None
    """Percent."""
    why: str = ""
    """What is missing, or how a checkpoint differs."""


class Suspect(NamedTuple):
    """A choice that may have broken rungs."""

    decision: str
    what: str
    look: str
    """How to look at it."""
    explains: tuple[str, ...]
    """Broken rungs that depend on it."""
    cleared_by: tuple[str, ...]
    """Rungs that depend on it and hold."""


class Decision(NamedTuple):
    """A choice."""

    what: str
    look: str


@cache
def rungs(scale: Scale) -> tuple[Rung, ...]:
    """Return the rungs of a scale, the cheapest first."""
    frame = pd.read_csv(_FOLDER / "ladder.csv", dtype=str, keep_default_na=False)
    return tuple(_rung(**line) for line in frame[frame["scale"] == scale].to_dict("records"))  # type: ignore[arg-type]


def _rung(rung: str, tolerance: str, depends: str, model: str, **more: str) -> Rung:
    decisions = tuple(_of_model(name, model) for name in depends.split())
    return Rung(rung, model=model, tolerance=float(tolerance or 0), depends=decisions, **more)  # type: ignore[arg-type]


def _of_model(decision: str, model: str) -> str:
    return f"weights {model}" if decision == "weights" else decision


def chosen(scale: Scale, names: Sequence[str]) -> tuple[Rung, ...]:
    """Return rungs by name, in the order of the ladder; all if none is named.

    Raises:
        BenchError: for an unknown name.
    """
    known = {rung.name: rung for rung in rungs(scale)}
    for name in names:
        if name not in known:
            raise unknown_name(f"rung of {scale} scale", name, known)
    return tuple(rung for rung in known.values() if not names or rung.name in names)


@cache
def decisions() -> dict[str, Decision]:
    """Return what each choice is."""
    frame = pd.read_csv(_FOLDER / "decisions.csv", dtype=str, keep_default_na=False)
    return {str(name): Decision(str(what), str(look)) for name, what, look in frame.itertuples(index=False)}


def decision(name: str) -> Decision:
    """Return what a choice is; that of weights with the model's name."""
    kind, _, model = name.partition(" ")
    found = decisions()[kind]
    return Decision(found.what.replace("the model", model), found.look) if model else found


def published_reference(rung: Rung) -> Reference:
    """Return the published number of a rung.

    Raises:
        BenchError: if there is not exactly one.
    """
    if rung.published.startswith(_OF_PAPER):
        row = rung.published.removeprefix(_OF_PAPER)
        value = paper_number(rung.table, row, rung.column)
        if value is None:
            raise BenchError(f"rung {rung.name}: the paper's {rung.table} has no number of '{row}': correct ladder.csv")
        frame = paper_table(rung.table)
        told = f", {frame['provenance'].to_dict()[row]}" if "provenance" in frame.columns else ""
        return Reference(value, f"the paper's {rung.table}{told}")
    found = [
        number
        for number in numbers()
        if (number.model, number.table, number.column) == (rung.published, rung.table, rung.column)
        and number.protocol == rung.protocol
        and not number.differs
    ]
    if len(found) != 1:
        raise BenchError(f"rung {rung.name} has {len(found)} published numbers in numbers.csv: it must have one")
    standing = f" ({found[0].standing})" if found[0].standing else ""
    return Reference(float(found[0].value), f"{found[0].source}{standing}")


def judged(rung: Rung, reference: Reference, measured: float) -> Reading:
    """Return a reading: broken if the number is farther from the reference than the rung tolerates."""
    apart = round(abs(measured - reference.value), 9)
    return Reading(rung, "holds" if apart <= rung.tolerance else "broken", reference, measured)


def suspects(readings: Iterable[Reading]) -> list[Suspect]:
    """Return what may have broken rungs, the likeliest first.

    Of two choices the likelier is the one that no held rung shares; then the one that more broken rungs share.
    """
    known = list(readings)
    found: dict[str, Suspect] = {}
    for name in dict.fromkeys(d for one in known if one.status == "broken" for d in one.rung.depends):
        explains, cleared = (
            tuple(one.rung.name for one in known if one.status == status and name in one.rung.depends)
            for status in ("broken", "holds")
        )
        found[name] = Suspect(name, *decision(name), explains, cleared)
    return sorted(found.values(), key=lambda one: (bool(one.cleared_by), -len(one.explains)))


def also_known_as(reading: Reading, readings: Iterable[Reading]) -> list[str]:
    """Say which other number a broken rung met: one of the same model and column under another protocol."""
    rung, measured = reading.rung, reading.measured
    if reading.status != "broken" or measured is None:
        return []
    near = [
        f"{one.value} is published under {one.protocol or 'a protocol that is not known'} ({one.source})"
        for one in numbers()
        if (one.model, one.table, one.column) == (rung.published, rung.table, rung.column)
        and one.protocol != rung.protocol
        and abs(float(one.value) - measured) <= rung.tolerance
    ]
    of_rungs = [
        f"{one.reference.value:.1f} is what rung {one.rung.name} is to meet, under {one.rung.protocol}"
        for one in readings
        if one.reference is not None
        and (one.rung.model, one.rung.table, one.rung.column) == (rung.model, rung.table, rung.column)
        and one.rung.name != rung.name
        and not rung.published
        and abs(one.reference.value - measured) <= rung.tolerance
    ]
    return near + of_rungs


def diagnosis(readings: Sequence[Reading]) -> list[str]:
    """Say in sentences which rungs broke, and what most likely explains it."""
    lines = []
    for one in readings:
        if one.status == "broken" and one.reference is not None and one.measured is not None:
            away = one.measured - one.reference.value
            lines.append(
                f"{one.rung.name} is {away:+.2f} points away from {round(one.reference.value, 2):g}, more than "
                f"{one.rung.tolerance:g} ({one.rung.tolerance_from})"
            )
            lines += [f"  but {words}" for words in also_known_as(one, readings)]
        elif one.status == "broken":
            lines.append(f"{one.rung.name}: the checkpoint is not the published one")
    every = suspects(readings)
    free = [one for one in every if not one.cleared_by]
    likely = [one for one in free if len(one.explains) == len(free[0].explains)]
    if free:
        lines.append(f"most likely ({', '.join(likely[0].explains)} depend on it, and no rung that holds):")
        lines += [f"  {one.what}; {one.look}" for one in likely]
    if len(free) > len(likely):
        lines.append("else, of fewer of them:")
        lines += [f"  {one.what} ({', '.join(one.explains)})" for one in free[len(likely) :]]
    if every and not free:
        lines.append(
            "rungs that hold share each single choice that the broken ones depend on: two together, or a number that "
            "its publisher measured otherwise"
        )
    return lines
