"""`bench list axes`: every choice of the protocols, its values, and which published evaluator sets what."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import ModuleType

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cli.as_json import print_json
from models.errors import BenchError, printable
from protocols import tables
from protocols.axes import NEEDS, NOT_PUBLISHED, Axes
from protocols.chosen import NAMES, concerning, meanings, set_by, values_of

HOW = "bench run table4 --preset NAME --axis NAME=VALUE --axis NAME=VALUE ..."


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis as it is printed."""

    name: str
    values: str
    """The paper's, or ours where it is silent, stand under `set_by`."""
    meaning: str
    needs: str
    """Clicks that it means something for; empty: all."""
    tables: tuple[str, ...]
    """Those that it concerns."""
    set_by: dict[str, str]
    """Values by preset; presets that are not named set it as the paper does."""


def axes() -> list[Axis]:
    """Return all axes, in the order of their definition."""
    meaning = meanings()
    concerned = {table.NAME: concerning(table) for table in _tables_with_axes()}
    return [
        Axis(
            name,
            values_of(name),
            meaning[name],
            ", ".join(NEEDS.get(name, ())),
            tuple(table for table, names in concerned.items() if name in names),
            set_by(name),
        )
        for name in NAMES
    ]


def _tables_with_axes() -> list[ModuleType]:
    found = []
    for name in tables.names():
        try:
            table = tables.find(name)
        except BenchError:  # `bench list` says what is wrong with it
            continue
        if "axis" in table.TAKES and not hasattr(table, "make"):
            found.append(table)
    return found


def print_axes(console: Console, *, as_json: bool) -> None:
    """Print all axes as a table, with their sources below, or as JSON."""
    if as_json:
        print_json(axes())
        return
    table = Table(show_lines=True)
    for heading in ("axis", "values", "meaning", "set by"):
        table.add_column(heading, overflow="fold", min_width={"axis": 14, "meaning": 40}.get(heading))
    for axis in axes():
        needs = f" Needs clicks {axis.needs.replace(', ', ' or ')}." if axis.needs else ""
        presets = "\n".join(f"{name}: {value.replace(',', ', ')}" for name, value in axis.set_by.items())
        where = f" Concerns {', '.join(axis.tables)}."
        cells = (axis.name, axis.values.replace(" | ", "\n"), axis.meaning + needs + where, presets)
        table.add_row(*(Text(printable_lines(cell)) for cell in cells))
    console.print(table)
    for line in (HOW, *NOT_PUBLISHED.values(), _sources()):
        console.print(Text(printable_lines(line)), highlight=False)


def printable_lines(text: str) -> str:
    """Return text as `printable` writes it, line by line."""
    return "\n".join(map(printable, text.split("\n")))


def _sources() -> str:
    """Return what the letters in the meanings stand for."""
    return " ".join(inspect.cleandoc(Axes.__doc__ or "").split("\n\n")[1].split())
