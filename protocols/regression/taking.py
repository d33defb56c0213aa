"""Make tables and take their snapshot: what `bench regression` measures before it compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pandas as pd

from protocols.defaults import of
from protocols.regression.gated import ON, name_of, settings_of, table_of
from protocols.regression.snapshots import OF, Snapshot, cells_of
from protocols.scores import CellRun
from protocols.settings import Settings
from protocols.table import Prepared, ask_tables, assemble


def take_snapshot(names: Sequence[str], settings: Settings) -> Snapshot:
    """Ask the models of some tables, score them as `bench run` does, and return what they gave.

    Args:
        names: of `protocols.regression.gated`.
        settings: how they are made, apart from data.

    Raises:
        BenchError: as `protocols.table.make_tables`.
    """
    prepared = ask_gated(names, settings)
    results = [replace(assemble(one, one.settings), name=name_of(one.question.table, one.settings)) for one in prepared]
    for name in names:
        table = table_of(name)
        if hasattr(table, "make") and (result := table.make(table, settings)) is not None:
            results.append(result)
    return Snapshot(cells_of(results), records_of(prepared), made_with(prepared, settings))


def ask_gated(names: Sequence[str], settings: Settings) -> list[Prepared]:
    """Ask the models of those tables that ask any; first about the tables' own data, each image for all tables once."""
    asking = [name for name in names if not hasattr(table_of(name), "make")]
    prepared: list[Prepared] = []
    for own in (False, True):
        some = [name for name in asking if (ON in name) == own]
        if not own and some:
            prepared += ask_tables([table_of(name) for name in some], settings)
        elif own:
            for name in some:
                prepared += ask_tables([table_of(name)], settings_of(name, settings))
    return prepared


def records_of(prepared: Sequence[Prepared]) -> dict[str, pd.DataFrame]:
    """Return what is kept of the records of tables whose models have been asked, by table."""
    found: dict[str, pd.DataFrame] = {}
    for one in prepared:
        subjects = one.question.plan.subjects  # about other data than its own, a table calls rows by their models
        called = {subject.row: subject.row if one.settings.data is None else subject.model for subject in subjects}
        parts = [
            kept_of(one.question.table, data, called[row], run)
            for data, of_row in one.question.runs.items()
            for row, run in of_row.items()
            if isinstance(run, CellRun)
        ]
        if of(one.question.table, "WATCHED") is not None and parts:
            found[name_of(one.question.table, one.settings)] = pd.concat(parts, ignore_index=True)
    return found


def kept_of(table: ModuleType, data: str, row: str, run: CellRun) -> pd.DataFrame:
    """Return what is kept of a run's records, empty if the table says nothing of them."""
    watched = of(table, "WATCHED")
    if watched is None:
        return pd.DataFrame()
    kept: pd.DataFrame = watched.kept(run.records)
    return kept.assign(data=data, row=row)[[*OF, *kept.columns]]


def images_of(prepared: Sequence[Prepared]) -> dict[tuple[str, str], Sequence[int]]:
    """Return the images that were asked about, by table and data set."""
    return {
        (name_of(one.question.table, one.settings), name): data.asked.ids
        for one in prepared
        for name, data in one.question.data.items()
    }


def made_with(prepared: Sequence[Prepared], settings: Settings) -> dict[str, Any]:
    """Return what the numbers rest on: date, commit, versions of libraries, hashes of weights and data."""
    identities = [identity for one in prepared for identity in one.question.models.values()]
    weights = {str(one["name"]): one["checkpoint_sha256"] for one in identities if one["checkpoint_sha256"]}
    data = {
        f"{name_of(one.question.table, one.settings)} {name}": data.sha256
        for one in prepared
        for name, data in one.question.data.items()
    }
    return {
        **{key: settings.provenance.get(key) for key in ("date", "git", "versions", "python", "hardware", "threads")},
        "engine": settings.engine,
        "weights": dict(sorted(weights.items())),
        "data": dict(sorted(data.items())),
    }
