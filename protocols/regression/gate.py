"""The regression gate: does what tables give now differ from what is expected of them by more than it may?

Two levels. Means: the number of each cell. Records: how many of the prompts, detections or images behind it moved,
for a mean can hold while what it is the mean of does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from protocols.defaults import of
from protocols.regression.gated import table_of
from protocols.regression.snapshots import CELL_KEY, Snapshot
from protocols.regression.tolerances import Tolerances
from protocols.results import Finding
from protocols.watched import Watched, moved


def compare(
    expected: Snapshot,
    found: Snapshot,
    tolerances: Tolerances,
) -> list[Finding]:
    """Compare what tables gave with what is expected of them, means first.

    Args:
        expected: of these tables and perhaps others, which are left out.
        found: what is there now.
        tolerances: of their columns.
    """
    wanted = expected.only(found.tables)
    return [*_means(wanted.cells, found.cells, tolerances), *_records(wanted, found, tolerances)]


def _means(expected: pd.DataFrame, found: pd.DataFrame, tolerances: Tolerances) -> Iterator[Finding]:
    both = expected.merge(found, on=CELL_KEY, how="outer", suffixes=("", "_found"), sort=False)
    for cell in both.to_dict("records"):
        values = [_number(cell["value"]), _number(cell["value_found"])]
        if values == [None, None]:
            continue
        percent = bool(cell["percent"] if values[0] is not None else cell["percent_found"])
        tolerance = tolerances.of(cell["table"], cell["column"], "mean", percent=percent)
        difference = math.inf if None in values else values[1] - values[0]  # type: ignore[operator]
        said = ""
        if values[0] is None:
            said = "nothing is expected of it yet"
        elif values[1] is None:
            said = f"no number: {cell['why_found']}" if isinstance(cell["why_found"], str) else "its cell is gone"
        yield Finding(
            table=cell["table"],
            row=cell["row"],
            column=cell["column"],
            level="mean",
            difference=difference,
            tolerance=tolerance.value,
            why=tolerance.why,
            expected=values[0],
            found=values[1],
            percent=percent,
            said=said,
            drifted=not abs(difference) <= tolerance.value,
        )


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _records(
    expected: Snapshot,
    found: Snapshot,
    tolerances: Tolerances,
) -> Iterator[Finding]:
    for table in found.tables:
        watched: Watched | None = of(table_of(table), "WATCHED")
        if watched is None or table not in found.records:
            continue
        pair = [_by_cell(snapshot.records.get(table), watched) for snapshot in (expected, found)]
        for data, row in dict.fromkeys([*pair[0], *pair[1]]):
            sides = [side.get((data, row), next(iter(pair[1].values())).iloc[:0]) for side in pair]
            yield from _moved(table, str(data), str(row), watched, sides, tolerances)


def _by_cell(records: pd.DataFrame | None, watched: Watched) -> dict[tuple[Any, Any], pd.DataFrame]:
    """Return records by data set and row."""
    if records is None:
        return {}
    return {(data, row): part for (data, row), part in records.groupby(["data", "row"], sort=False, observed=True)}


def _moved(
    table: str, data: str, row: str, watched: Watched, sides: Sequence[pd.DataFrame], tolerances: Tolerances
) -> Iterator[Finding]:
    """Yield a finding for each kind of record of one model on one data set."""
    compared = moved(watched, *sides)
    kinds = compared[watched.column] if watched.column else pd.Series("", index=compared.index)
    for kind, part in compared.groupby(kinds, sort=False):
        column = f"{data}_{kind}" if kind else data
        tolerance = tolerances.of(table, column, "records")
        count, of_all, lost = int(part["moved"].sum()), len(part), int(part["lost"].sum())
        said = f"{count:,} of {of_all:,} {watched.what} moved"
        if count > lost:
            said += f", {watched.values[0].name} by up to {part['difference'].max():.3g}"
        if lost:
            said += f", {lost:,} are in one of both alone"
        yield Finding(
            table=table,
            row=row,
            column=column,
            level="records",
            difference=count / of_all,
            tolerance=tolerance.value,
            why=tolerance.why,
            said=said,
            drifted=count > max(1, tolerance.value * of_all),  # one record alone says nothing
        )


def changes(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Say what is not as it was when the expectations were made: weights, data and versions of libraries."""
    said = []
    for kind, words in (("weights", "weights of"), ("data", "data of"), ("versions", "")):
        before, now = expected.get(kind, {}), found.get(kind, {})
        for name in sorted(before.keys() & now.keys()):
            if before[name] != now[name]:
                said.append(f"{words} {name}: {before[name][:12]}, now {now[name][:12]}".strip())
    return said
