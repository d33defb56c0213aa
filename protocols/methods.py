"""What a report says of how its numbers were made, and tables that were not made, from the protocols themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from types import ModuleType
from typing import Any, NamedTuple

from models.errors import BenchError
from protocols import tables
from protocols.axes import PAPER, Axes, in_effect
from protocols.chosen import concerning, meanings, shown
from protocols.paper import paper_number, paper_table, paper_value
from protocols.results import Cell, Column, Row, TableResult


class UsedAxis(NamedTuple):
    """One choice, as some tables made it."""

    name: str
    value: str
    meaning: str
    """The words below its field in `protocols.axes`."""
    tables: str
    papers: str
    """The paper's value, empty where this is it."""


def axes_of(result: TableResult) -> Axes | None:
    """Return the choices that a result was made with; None for tables whose evaluators leave none.

    Raises:
        BenchError: if it holds others than this version knows.
    """
    recorded = result.provenance.get("axes")
    if not isinstance(recorded, dict):
        return None
    known = {field.name for field in fields(Axes)}
    if unknown := sorted(set(recorded) - known):
        raise BenchError(f"{result.name} was made with axes that this version does not know ({', '.join(unknown)})")
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in recorded.items()
    }
    return Axes(**values)


def used_axes(results: Iterable[TableResult]) -> list[UsedAxis]:
    """Return the choices that have an effect on some results, by name in the order of `Axes`, each with its tables."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for result in results:
        axes = axes_of(result)
        if axes is not None:
            for name, value in in_effect(axes, concerning(tables.find(result.name))).items():
                found.setdefault((name, shown(value)), {})[result.name] = None
    order = [field.name for field in fields(Axes)]
    return [
        UsedAxis(name, value, meanings()[name].replace("`", ""), ", ".join(of), _papers(name, value))
        for (name, value), of in sorted(found.items(), key=lambda item: order.index(item[0][0]))
    ]


def _papers(name: str, value: str) -> str:
    papers = shown(getattr(PAPER, name))
    return "" if papers == value else papers


def sources() -> str:
    """Return what the letters in the meanings of axes stand for."""
    return " ".join(str(Axes.__doc__).partition("\n\n")[2].split())


def not_made(table: ModuleType) -> TableResult:
    """Return a table of the paper's numbers alone, with the command that would make the others."""
    labels = [str(label) for label in paper_table(table.NAME).index]
    command = f"python -m bench run {table.NAME}"
    return TableResult(
        name=table.NAME,
        title=table.TITLE,
        scale="paper",
        world="not made here",
        comparable=False,
        preset="",
        columns=tuple(table.COLUMNS),
        rows=tuple(Row(label, None) for label in labels),
        cells=tuple(_blank(table.NAME, label, column, command) for label in labels for column in table.COLUMNS),
        command=command,
    )


def _blank(table: str, row: str, column: Column, command: str) -> Cell:
    paper: Any = (paper_value if column.percent else paper_number)(table, row, column.key)
    return Cell(row, column.key, "not requested", paper, why=f"this table was not made: `{command}` makes it")


def in_order(results: Iterable[TableResult]) -> Iterator[TableResult]:
    """Yield results in the order of `bench list`; tables that nobody knows come last."""
    names = tables.names()
    yield from sorted(results, key=lambda one: names.index(one.name) if one.name in names else len(names))
