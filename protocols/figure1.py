"""Figure 1: AP from detected boxes against throughput, of every promptable model of Table 5.

AP is Table 5's, from its runs; throughput is timed now, as Table 8 times it. The paper prints throughput for SAM and
both EfficientSAMs alone (Table 8).
"""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from bench.processes import this_process
from models.specs import is_spec
from protocols import table5, table8
from protocols.masks_file import is_masks_file
from protocols.paper import paper_number, paper_table, paper_value
from protocols.results import Cell, Column, Row, TableResult
from protocols.settings import Settings
from protocols.table import make_tables

NAME = "figure1"
TITLE = "Mask AP against throughput (Figure 1)"
TAKES = frozenset({"scale", "models", "checkpoint", "trust", "limit", "device"})
TRAINED_WITH = "table5"
AGAINST = "images_per_s"
AP = ("coco_ap", "lvis_ap")
COLUMNS = (
    Column(AGAINST, "images/s", "", percent=False),
    *(column for column in table5.COLUMNS if column.key in AP),
)


def make(table: ModuleType, settings: Settings) -> TableResult | None:
    """Make Table 5 (what was measured before is kept) and time its models; None on all but the first process.

    Raises:
        BenchError: as Tables 5 and 8.
    """
    made = make_tables([table5], settings)
    if made is None or not this_process().is_first:
        return None
    accuracy = made[0]
    timed, speeds, engine = table8.time_models(_models(accuracy), settings)
    labels = [str(label) for label in paper_table(NAME).index]
    rows = [row for row in accuracy.rows if row.label in labels or row.label in timed]
    return TableResult(
        name=NAME,
        title=TITLE,
        scale=accuracy.scale,
        world=f"AP: {accuracy.world}; throughput: {table8.where(settings, engine)}",
        comparable=False,
        preset="",
        columns=COLUMNS,
        rows=tuple(rows),
        cells=tuple(cell for row in rows for cell in _cells(accuracy, row, timed)),
        footnotes=(
            *accuracy.footnotes,
            f"images/s: {table8.INTERVAL}; {table8.EXTENT}",
            "the paper's throughput is of an A100 (Table 8)",
        ),
        command=settings.command,
        provenance={**accuracy.provenance, "timing": {"engine": engine, "seconds": speeds}},
        interval=f"AP: {accuracy.interval}",
        against=AGAINST,
    )


def _models(accuracy: TableResult) -> dict[str, str]:
    """Return the model of each row that was measured and has a network, by row."""
    from models import zoo

    known = set(zoo.names())
    models = {row.label: row.model for row in accuracy.rows if row.model is not None}
    return {row: name for row, name in models.items() if name in known or (is_spec(name) and not is_masks_file(name))}


def _cells(accuracy: TableResult, row: Row, timed: dict[str, tuple[float, float, float, int]]) -> list[Cell]:
    paper = paper_number(NAME, row.label, AGAINST)
    if row.label in timed:
        value, low, high, calls = timed[row.label]
        first = Cell(row.label, AGAINST, "measured", paper, value, low, high, calls)
    else:
        first = Cell(row.label, AGAINST, "not requested", paper)
    others = [replace(accuracy.cell(row.label, key), paper=paper_value(NAME, row.label, key)) for key in AP]
    return [first, *others]


def state() -> str:
    """Say what it can be made of here."""
    return "from Table 5's runs, and timed here"
