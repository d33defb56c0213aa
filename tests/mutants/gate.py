"""The regression gate on some models, and on some images: what a planted fault has to get past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from protocols import table2, table5
from protocols.gated import name_of
from protocols.regression import compare
from protocols.results import Finding
from protocols.settings import Settings
from protocols.snapshots import Snapshot, cells_of, read_snapshot
from protocols.table import assemble
from protocols.taking import ask_gated, images_of, made_with, records_of
from protocols.tolerances import read_tolerances
from tests.mutants.mutants import Mutant
from tests.protocols.fakes import settings


def of_rows(expected: Snapshot, found: Snapshot) -> Snapshot:
    """Return what is expected of the rows that were made."""
    cells = expected.cells.merge(found.cells[["table", "row"]].drop_duplicates(), on=["table", "row"])
    records = {
        table: kept[kept["row"].isin(set(found.records[table]["row"]))]
        for table, kept in expected.records.items()
        if table in found.records
    }
    return Snapshot(cells, records, expected.made_with)


def gate(names: Sequence[str], how: Settings, expected: Snapshot | None = None) -> list[Finding]:
    """Compare what some tables give with what is expected, by default with what is committed.

    Of limited tables records alone are compared.
    """
    found, images = taken(names, how)
    return compare(of_rows(expected or read_snapshot(), found), found, read_tolerances(), images=images)


def taken(names: Sequence[str], how: Settings) -> tuple[Snapshot, dict[tuple[str, str], Sequence[int]] | None]:
    """Return what some tables give, of rows that models are asked for; and their images, if they are limited."""
    prepared = ask_gated(names, how)
    records = records_of(prepared)
    if how.limit is not None:
        cells = pd.DataFrame({"table": list(records), "row": ""})
        return Snapshot(cells, records, made_with(prepared, how)), images_of(prepared)
    results = [replace(assemble(p, p.settings), name=name_of(p.question.table, p.settings)) for p in prepared]
    cells = cells_of(results)
    cells = cells[cells["row"].isin({row for kept in records.values() for row in kept["row"]})]
    return Snapshot(cells, records, made_with(prepared, how)), None


def against(mutant: Mutant, store: Path, *, limit: int | None) -> list[Finding]:
    """Plant a fault and return what the gate says of the tables and models that it concerns.

    Args:
        mutant: the fault.
        store: an empty folder.
        limit: images of each data set; None for all.
    """
    with pytest.MonkeyPatch.context() as patch:
        for table in (table2, table5):
            patch.setattr(table, "REPLICATES", 2)  # nobody looks at intervals here
        expected = None
        if mutant.probe is not None:
            mutant.probe(patch)
            expected, _ = taken(mutant.tables, _settings(mutant, store / "clean", limit))
        mutant.plant(patch)
        return gate(mutant.tables, _settings(mutant, store / "planted", limit), expected)


def _settings(mutant: Mutant, store: Path, limit: int | None) -> Settings:
    return settings(store, scale="micro", models=mutant.models, limit=limit)
