"""IoU against clicks, a curve a model: table `clicks` at every click, from the same runs."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from protocols import clicks
from protocols.chosen import for_table
from protocols.paper import paper_table
from protocols.results import Column, Row, TableResult
from protocols.settings import Settings
from protocols.table import asked_columns, make_tables

NAME = "click_curves"
TITLE = "IoU after 1, 2, 3, ... clicks"
TRAINED_WITH = "table4"
TAKES, ASKED_WITH, SCORED_WITH = clicks.TAKES, clicks.ASKED_WITH, clicks.SCORED_WITH
COLUMNS = tuple(Column(label, label, "COCO") for label in paper_table(clicks.NAME).index)
"""Those of the table's rows; `make` has one for every row that was measured."""


def make(table: ModuleType, settings: Settings) -> TableResult | None:
    """Make table `clicks` with a column a click, and turn it; None on all but the first process.

    Raises:
        BenchError: as table `clicks`.
    """
    own = for_table(clicks, settings)
    asked_columns(clicks, replace(own, preset=settings.preset))
    every = _every_click(own.axes.most_clicks)
    made = make_tables([every], replace(settings, axes=replace(settings.axes, columns=None)))
    if made is None:
        return None
    result = made[0]
    measured = [row for row in result.rows if any(c.row == row.label and c.measured is not None for c in result.cells)]
    return replace(
        result,
        name=NAME,
        title=TITLE,
        columns=tuple(Column(row.label, row.label, result.columns[0].group) for row in measured),
        rows=tuple(Row(column.label, None) for column in result.columns),
        cells=tuple(
            replace(result.cell(row.label, column.key), row=column.label, column=row.label)
            for column in result.columns
            for row in measured
        ),
        comparisons=(),
        row_head="answers after",
        x=tuple(float(click) for click in range(1, len(every.COLUMNS) + 1)),
    )


def _every_click(most: int) -> ModuleType:
    """Return table `clicks` with a column a click."""
    table = ModuleType(clicks.NAME)
    vars(table).update(vars(clicks), footnotes=clicks.notes_on_answers)
    table.COLUMNS = tuple(  # type: ignore[attr-defined]
        Column(f"coco_iou{click}", f"{click} click{'' if click == 1 else 's'}", "COCO") for click in range(1, most + 1)
    )
    return table


def state() -> str:
    """Say what it can be made of here."""
    return "from the runs of table clicks"
