"""Numbers that others published about models, with the protocol that they were measured by: context, never a row's own.

numbers.csv holds them as printed: percentages, and clicks for NoC. `standing` says which were not read at their source.
`differs` says what is not, or not known to be, as the preset has it: such a number stands beside no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pandas as pd

from bench.data import is_published_set
from protocols.axes import Axes, in_effect, preset
from protocols.chosen import read_axes, shown
from protocols.defaults import of
from protocols.measured import Measured
from protocols.results import Column


class Number(NamedTuple):
    """One published number."""

    model: str
    data: str
    """coco or lvis."""
    table: str
    """Of this project, that measures the same."""
    metric: str
    """Key of its column, without the data set."""
    value: str
    """As printed."""
    protocol: str
    """A preset, also with what differs from it ("tinysam, but mask_pick=single"); empty: not known."""
    standing: str
    """second-hand, or empty."""
    differs: str
    """What else is not, or not known to be, the protocol's; empty: nothing."""
    source: str

    @property
    def column(self) -> str:
        """Return the key of the column."""
        return f"{self.data}_{self.metric}"

    @property
    def words(self) -> str:
        """Return model and number, with their standing."""
        return f"{self.model} {self.value}" + (f" ({self.standing})" if self.standing else "")


@cache
def numbers() -> tuple[Number, ...]:
    """Return all of them."""
    frame = pd.read_csv(Path(__file__).with_name("numbers.csv"), dtype=str, keep_default_na=False)
    return tuple(Number(*line) for line in frame[list(Number._fields)].itertuples(index=False))


def axes_of(protocol: str) -> Axes:
    """Return the axes that a protocol's name says.

    >>> axes_of("tinysam, but mask_pick=single").mask_pick
    'single'
    """
    name, _, but = protocol.partition(", but ")
    return replace(preset(name), **read_axes(but.split(", ") if but else []))


def difference(number: Number, axes: Axes, matters: Iterable[str]) -> str:
    """Say what keeps a number from standing beside those of a run, empty if it is of the same protocol.

    Args:
        number: As published.
        axes: Of the run.
        matters: Names of the axes that decide what its column measures.
    """
    if number.differs or not number.protocol:
        return number.differs or "its protocol is not known"
    names, other = (*matters, "precision"), axes_of(number.protocol)
    theirs, ours = in_effect(other, names), in_effect(axes, names)
    return ", ".join(
        f"{name}={shown(getattr(other, name))} instead of {shown(getattr(axes, name))}"
        for name in names
        if theirs.get(name, ours.get(name)) != ours.get(name, theirs.get(name))
    )


def notes(table: ModuleType, measured: Measured) -> Iterator[str]:
    """Yield footnotes: what others published by the same protocol about the same data, and what differs in the rest."""
    if not _same_data(measured) or measured.settings.engine == "fast":
        return
    matters = of(table, "MATTERS")
    refused: dict[str, dict[str, None]] = {}
    for column in measured.columns:
        alike: dict[str, list[str]] = {}
        for number in numbers():
            if (number.table, number.column) != (table.NAME, column.key) or column.key not in matters:
                continue
            why = difference(number, measured.data.chosen, matters[column.key])
            if why:
                refused.setdefault(number.source, {}).update(dict.fromkeys(why.split(", ")))
            else:
                alike.setdefault(number.source, []).append(number.words)
        for source, words in alike.items():
            yield f"{_name(column)}, published elsewhere under this protocol: {', '.join(words)} ({source})"
    for source, reasons in refused.items():
        what = f"{measured.data.label}: not shown, since published under another protocol"
        yield f"{what}: {source} ({', '.join(reasons)})"


def _name(column: Column) -> str:
    return f"{column.group} {column.label}"


def _same_data(measured: Measured) -> bool:
    """Return whether all images of a published set were asked, or all that the protocol takes of it."""
    data, settings = measured.data, measured.settings
    if data.axes is None or settings.data is not None or settings.limit is not None:
        return False
    part = data.name == "lvis" and data.axes.lvis_images == "val2017" and data.boxes is None
    return bool(data.published) or (part and is_published_set(data.source))
