"""What some tables gave, as the regression gate compares it: the mean of every cell, and records in compact form.

A snapshot is a folder: cells.csv, TABLE.parquet for each table whose records are compared, and made_with.json. That of
the micro tables is committed in protocols/expected.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from bench.store.disk import write_whole
from models.errors import BenchError
from protocols.defaults import of
from protocols.results import TableResult
from protocols.scores import Scores

EXPECTED = Path(__file__).parents[1] / "expected"
"""What the micro tables are expected to give."""
CELLS, MADE_WITH = "cells.csv", "made_with.json"
CELL_KEY = ["table", "row", "column"]
OF = ["data", "row"]
"""Columns of kept records that say whose they are, before those of `protocols.watched`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What some tables gave."""

    cells: pd.DataFrame
    """table, row, column, value (0..1 for percentages, NaN where there is no number), percent (whether it is printed
    x 100) and why (there is no number)."""
    records: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """By table: `OF`, then what `Watched.kept` returns."""
    made_with: Mapping[str, Any] = field(default_factory=dict)
    """date, git, versions, weights (sha256 by model) and data (sha256 by name)."""

    @property
    def tables(self) -> list[str]:
        """Return the names of the tables."""
        return list(dict.fromkeys(self.cells["table"]))

    def only(self, tables: Sequence[str]) -> Snapshot:
        """Return what some of the tables gave."""
        cells = self.cells[self.cells["table"].isin(list(tables))]
        return Snapshot(cells, {name: kept for name, kept in self.records.items() if name in tables}, self.made_with)

    def replaced_by(self, other: Snapshot) -> Snapshot:
        """Return this with everything about the tables of another taken from that."""
        rest = self.only([name for name in self.tables if name not in other.tables])
        made_with = {
            **other.made_with,
            **{kind: {**self.made_with.get(kind, {}), **other.made_with.get(kind, {})} for kind in ("weights", "data")},
        }
        cells = pd.concat([rest.cells, other.cells], ignore_index=True)
        return Snapshot(cells, {**rest.records, **other.records}, made_with)


def cells_of(results: Iterable[TableResult]) -> pd.DataFrame:
    """Return the cells of tables that models or records gave numbers for, or should have; see `Snapshot.cells`.

    Rows that are only quoted, or were never trained or released, are left out.
    """
    rows = [
        {
            "table": result.name,
            "row": cell.row,
            "column": cell.column,
            "value": np.nan if cell.measured is None else cell.measured,
            "percent": column.percent,
            "why": cell.why,
        }
        for result in results
        for column in result.columns
        for cell in result.cells
        if cell.column == column.key
        and (cell.measured is not None or cell.status in ("weights missing", "data missing"))
    ]
    return pd.DataFrame(rows, columns=[*CELL_KEY, "value", "percent", "why"])


def cells_of_scores(table: ModuleType, row: str, scores: Scores) -> pd.DataFrame:
    """Return the cells of one row of a table, but for measured times; see `Snapshot.cells`."""
    percent = {column.key: column.percent for column in table.COLUMNS}
    rows = [
        {"table": table.NAME, "row": row, "column": key, "value": one.value, "percent": percent[key], "why": ""}
        for key, one in scores.intervals.items()
        if key not in of(table, "TIMES")
    ]
    return pd.DataFrame(rows, columns=[*CELL_KEY, "value", "percent", "why"])


def write_snapshot(snapshot: Snapshot, folder: Path) -> None:
    """Write a snapshot into a folder; files of other tables stay.

    Raises:
        BenchError: if the disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cells = snapshot.cells.drop(columns="why").dropna(subset="value")
    write_whole(folder / CELLS, cells.to_csv(index=False, lineterminator="\n").encode())
    for name, kept in snapshot.records.items():
        write_whole(folder / f"{name}.parquet", _smallest(kept).to_parquet(index=False, compression="zstd"))
    write_whole(folder / MADE_WITH, (json.dumps(snapshot.made_with, indent=1) + "\n").encode())


def read_snapshot(folder: Path = EXPECTED) -> Snapshot:
    """Return the snapshot in a folder.

    Raises:
        BenchError: if there is none, or it is damaged.
    """
    try:
        cells = pd.read_csv(io.BytesIO((folder / CELLS).read_bytes()), float_precision="round_trip")
        cells = cells.assign(why="")[[*CELL_KEY, "value", "percent", "why"]]
        records = {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}
        made_with = json.loads((folder / MADE_WITH).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"{folder} holds no whole snapshot of tables ({error}): make it with `bench regression --save`, or, of the "
            "committed expectations, check them out again"
        ) from error
    return Snapshot(cells, records, made_with)


def _smallest(kept: pd.DataFrame) -> pd.DataFrame:
    """Return the same numbers in the smallest integers that hold them."""
    return pd.DataFrame(
        {
            name: pd.to_numeric(column, downcast="integer") if pd.api.types.is_integer_dtype(column) else column
            for name, column in kept.items()
        }
    )
