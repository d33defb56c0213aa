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


def gate(names: Sequence[str], how: Settings, *, means: bool = True) -> list[Finding]:
    """Compare some tables with what is committed; of limited ones, and without means, records alone."""
    prepared = ask_gated(names, how)
    records, images = records_of(prepared), None
    cells = pd.DataFrame({"table": list(records), "row": ""})
    if means and how.limit is None:
        results = [replace(assemble(p, p.settings), name=name_of(p.question.table, p.settings)) for p in prepared]
        cells = cells_of(results)
        cells = cells[cells["row"].isin({row for kept in records.values() for row in kept["row"]})]
    else:
        images = images_of(prepared)
    found = Snapshot(cells, records, made_with(prepared, how))
    return compare(of_rows(read_snapshot(), found), found, read_tolerances(), images=images)


def against(mutant: Mutant, store: Path, *, limit: int | None, means: bool = True) -> list[Finding]:
    """Plant a fault and return what the gate says of the tables and models that it concerns.

    Args:
        mutant: the fault.
        store: an empty folder.
        limit: images of each data set; None for all.
        means: whether means are compared too.
    """
    how = settings(store, scale="micro", models=mutant.models, limit=limit)
    with pytest.MonkeyPatch.context() as patch:
        for table in (table2, table5):
            patch.setattr(table, "REPLICATES", 2)  # nobody looks at intervals here
        mutant.plant(patch)
        return gate(mutant.tables, how, means=means)
