"""What a table says of data of the user's own: models by their own names, and nothing of the paper."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from protocols.results import Comparison, Row, TableResult


def of_own_data(result: TableResult, name: str, wanted: Sequence[str]) -> TableResult:
    """Return a result without the paper's rows, numbers and claims.

    Args:
        result: as measured, with the paper's rows.
        name: of the data.
        wanted: models that the user named; of these it is said why they were not measured.
    """
    statuses = {row.label: {cell.status for cell in result.cells if cell.row == row.label} for row in result.rows}
    rows = [row for row in result.rows if _is_shown(statuses[row.label], named=bool(wanted))]
    label = {row.label: row.model or row.label for row in rows}
    return replace(
        result,
        title=f"{result.title}, on {name}",
        comparable=False,
        own=name,
        rows=tuple(_renamed(row, label[row.label]) for row in rows),
        cells=tuple(replace(cell, row=label[cell.row], paper=None) for cell in result.cells if cell.row in label),
        comparisons=tuple(
            replace(one, first=label[one.first], second=label[one.second], paper=None, verdict=_verdict(one))
            for one in result.comparisons
            if one.measured is not None and {one.first, one.second} <= label.keys()
        ),
    )


def _is_shown(statuses: Set[str], *, named: bool) -> bool:
    if statuses & {"measured", "not supported"}:
        return True
    return named and "not requested" not in statuses


def _renamed(row: Row, label: str) -> Row:
    return replace(row, label=label, kind="extra" if row.kind == "paper" else row.kind)


def _verdict(one: Comparison) -> str:
    """Say which of two is higher, in place of whether their order is the paper's."""
    assert one.measured is not None
    if one.low is None or one.high is None or one.low <= 0 <= one.high:
        return "not decided"
    return "higher" if one.measured > 0 else "lower"
