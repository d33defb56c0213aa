"""Which choices of the protocol make up the difference between two numbers of one model; no torch.

A protocol is a point among the axes (`protocols.axes`). On the way from one to another, each axis that differs and
matters for a column is one change, and each point that a change leads to is measured on the same images. Shares are
Shapley's (`protocols.inspect.shares`).

Some axes mean something beside some clicks alone (`NEEDS`). So that every point is a protocol, an axis that only the
second protocol has a use for changes after the clicks, and one that only the first has a use for before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from bench.metrics.interval import Interval, centred_interval, percentile_interval
from models.errors import BenchError
from protocols import published
from protocols.axes import PAPER, Axes, in_effect, means_something, preset
from protocols.chosen import concerning, read_axes, shown
from protocols.comparisons import Sampled
from protocols.defaults import of
from protocols.inspect.shares import Point, Shares, count_orders
from protocols.paper import paper_number

PUBLISHED = "PUBLISHED"
BEFORE, CLICKS, AFTER = range(3)
"""Ranks of changes."""


class Change(NamedTuple):
    """An axis that differs."""

    axis: str
    first: Any
    second: Any
    rank: int | None
    """Where it stands beside the change of the clicks; None: anywhere."""


@dataclass(frozen=True, slots=True)
class PublishedNumber:
    """What somebody published of a model under a protocol."""

    value: float
    """0..1 where the column is a percentage."""
    protocol: str
    source: str
    differs: str
    """What of it is not, or not known to be, as the protocol has it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one change explains."""

    change: Change
    share: Interval
    alone: Interval | None
    """What it changes as the only one; None where it means nothing alone, or was not measured."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A difference and its parts, the largest first."""

    first: Interval
    """The number under the first protocol."""
    second: Interval
    gap: Interval
    """second - first, paired; the shares add up to it."""
    parts: tuple[Part, ...]
    published: PublishedNumber | None
    rest: Interval | None
    """What no choice explains: the published number less `second`."""
    notes: tuple[str, ...]


def read_protocol(text: str, table: ModuleType) -> Axes:
    """Read PRESET, PRESET,NAME=VALUE,... or NAME=VALUE,..., the last of the paper's protocol.

    Raises:
        BenchError: for an unknown preset, axis or value.

    >>> from protocols import table4
    >>> read_protocol("tinysam, but mask_pick=single", table4).mask_pick
    'single'
    """
    words = [part.strip().removeprefix("but ").strip() for part in text.split(",")]
    named = read_axes([word for word in words if "=" in word])
    presets = [word for word in words if "=" not in word]
    if "columns" in named:
        raise BenchError("a protocol here is about one column, which --column names: leave columns=... out")
    if len(presets) > 1:
        raise BenchError(f"'{text}' names {len(presets)} presets: give one, then NAME=VALUE of what it has otherwise")
    usual = of(table, "USUAL") if presets in ([], ["paper"]) else {}
    return replace(preset(presets[0]) if presets else PAPER, **{**usual, **named})


def column_of(table: ModuleType, named: str | None, first: Axes, second: Axes) -> str:
    """Return the column to explain: the one named, else the first that both evaluators have.

    Raises:
        BenchError: if there is none, or the table cannot be explained.
    """
    if not hasattr(table, "resampled"):
        raise BenchError(f"{table.NAME} cannot be explained choice by choice: take table4, table5 or clicks")
    has = of(table, "has_column")
    known = [
        column.key
        for column in table.COLUMNS
        if all(
            (axes.columns is None or column.key in axes.columns) and has(column.key, axes) for axes in (first, second)
        )
    ]
    if not known:
        raise BenchError(f"the two protocols have no column of {table.NAME} in common: choose another table or preset")
    if named is None:
        return known[0]
    if named not in known:
        raise BenchError(f"'{named}' is no column of {table.NAME} that both protocols have: take {', '.join(known)}")
    return named


def changes(table: ModuleType, column: str, first: Axes, second: Axes) -> list[Change]:
    """Return the axes that differ and matter for a column, in the order of their definition.

    Where one of them needs the clicks of one protocol, the clicks are among them, whether the column has clicks or not.
    """
    matters = of(table, "MATTERS").get(column)
    names = set(concerning(table) if matters is None else (*matters, "precision")) - {"columns"}
    if "clicks" in names:
        names |= {"seed", "repeats"}
    found = _changes(table, names, first, second)
    if any(change.rank in (BEFORE, AFTER) for change in found):
        found = _changes(table, names | {"clicks"}, first, second)
    return found


def _changes(table: ModuleType, names: Set[str], first: Axes, second: Axes) -> list[Change]:
    found = []
    for name in concerning(table):
        values = getattr(first, name), getattr(second, name)
        meant = means_something(first, name), means_something(second, name)
        if name in names and values[0] != values[1] and any(meant):
            rank = None if all(meant) else AFTER if meant[1] else BEFORE
            found.append(Change(name, *values, CLICKS if name == "clicks" else rank))
    return found


def axes_at(first: Axes, column: str, found: Sequence[Change], point: Point) -> Axes:
    """Return the protocol at a point: the first one with the changes of the point made, about one column alone."""
    made = {found[place].axis: found[place].second for place in point}
    return replace(first, **made, columns=(column,))


def asked_as(table: ModuleType, axes: Axes) -> tuple[tuple[str, object], ...]:
    """Return the axes that decide records: points that share them are asked once."""
    names = of(table, "ASKED_WITH")
    return tuple(in_effect(axes, concerning(table) if names is None else names).items())


def published_number(table: ModuleType, column: str, card: Any, protocol: str) -> PublishedNumber:
    """Return the number that was published of a model.

    Args:
        table: as measured here.
        column: of the table.
        card: of the model.
        protocol: whose number; empty where there is but one.

    Raises:
        BenchError: if there is none, or there are several protocols to choose from.
    """
    found = list(_published(table, column, card))
    known = dict.fromkeys(number.protocol for number in found)
    if protocol:
        found = [number for number in found if number.protocol == protocol]
    if not found:
        more = f"; published under {', '.join(known)}" if known else ""
        raise BenchError(f"no number of {card.name} in {table.NAME} {column} was published{more}: name a protocol")
    if len(known) > 1 and not protocol:
        raise BenchError(
            f"{card.name} in {table.NAME} {column} was published under {', '.join(known)}: say which, as "
            f"{PUBLISHED}:{found[0].protocol}"
        )
    return found[0]


def _published(table: ModuleType, column: str, card: Any) -> Iterator[PublishedNumber]:
    percent = next(one.percent for one in table.COLUMNS if one.key == column)
    scale = 100 if percent else 1
    paper = paper_number(table.NAME, card.paper_row, column) if card.paper_row else None
    if paper is not None:
        yield PublishedNumber(paper / scale, "paper", "EfficientSAM, arXiv 2312.00863", "")
    for number in published.numbers():
        alike = _plain(number.model) in (_plain(card.name), _plain(card.paper_row or card.name))
        if alike and (number.table, number.column) == (table.NAME, column) and number.protocol:
            yield PublishedNumber(float(number.value) / scale, number.protocol, number.source, number.differs)


def _plain(name: str) -> str:
    """Return a model's name without what people write differently.

    >>> _plain("SAM-H"), _plain("sam-vit-h")
    ('samh', 'samh')
    """
    return name.lower().replace("vit-", "").replace("-", "").replace(" ", "")


def explain(
    found: Sequence[Change],
    plan: Shares,
    measured: Mapping[Point, Sampled],
    number: PublishedNumber | None = None,
) -> Explanation:
    """Return what each change explains.

    Args:
        found: the changes.
        plan: how shares follow from the points.
        measured: the number at each point, with draws over the same images.
        number: what was published under the second protocol.
    """
    values = [measured[point] for point in plan.points]
    first, second = values[0], values[-1]
    parts = [
        Part(change, _combined(weights, values), _alone(place, plan, values))
        for place, (change, weights) in enumerate(zip(found, plan.weights, strict=True))
    ]
    parts.sort(key=lambda part: -abs(part.share.value))
    ends = np.zeros(len(values))
    ends[0], ends[-1] = ends[0] - 1, ends[-1] + 1  # one point where nothing differs
    last = _interval(second)
    rest = (
        None
        if number is None
        else Interval(number.value - last.value, number.value - last.high, number.value - last.low, last.n)
    )
    return Explanation(
        _interval(first), last, _combined(ends, values), tuple(parts), number, rest, tuple(_notes(found, plan))
    )


def _interval(one: Sampled) -> Interval:
    of_draws = centred_interval if one.lopsided else percentile_interval
    return of_draws(one.value, one.draws, one.n, images=one.images)


def _combined(weights: np.ndarray, values: Sequence[Sampled]) -> Interval:
    """Return a weighted sum of numbers with the interval of its draws, which are of the same images for all."""
    used = [(weight, one) for weight, one in zip(weights.tolist(), values, strict=True) if weight]
    value = sum(weight * one.value for weight, one in used)
    draws = sum((weight * one.draws for weight, one in used), np.zeros(len(values[0].draws)))
    n = min((one.n for _, one in used), default=values[0].n)
    return _interval(values[0]._replace(value=value, draws=draws, n=n))


def _alone(place: int, plan: Shares, values: Sequence[Sampled]) -> Interval | None:
    """Return what a change does as the first one, None where that was not measured."""
    point = frozenset({place})
    if point not in plan.points:
        return None
    weights = np.zeros(len(values))
    weights[0], weights[plan.points.index(point)] = -1, 1
    return _combined(weights, values)


def _notes(found: Sequence[Change], plan: Shares) -> Iterator[str]:
    """Say over which orders shares are means."""
    ranks = [change.rank for change in found]
    total = count_orders(ranks)
    which = f"all {total:,} orders" if plan.orders is None else f"{plan.orders:,} of {total:,} orders, drawn at random"
    if len(found) > 1:
        yield f"shares are means over {which} in which the choices can change, {len(plan.points)} protocols measured"
    if plan.orders is not None:
        yield "intervals are over images alone: another draw of orders moves the shares, not their sum"
    for rank, when, which_one in ((BEFORE, "before", "first"), (AFTER, "after", "second")):
        if names := [change.axis for change in found if change.rank == rank]:
            yield (
                f"{', '.join(names)}: changed {when} clicks, since only the {which_one} protocol's clicks have a use "
                "for it"
            )


def shown_change(change: Change) -> str:
    """Return a change in words.

    >>> shown_change(Change("clicks", "random", "ritm", CLICKS))
    'random -> ritm'
    """
    return f"{shown(change.first)} -> {shown(change.second)}"
