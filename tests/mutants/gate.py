"""The regression gate on some models, and on some images: what a planted fault has to get past."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from protocols.regression.gate import compare
from protocols.regression.gated import name_of
from protocols.regression.snapshots import Snapshot, cells_of, read_snapshot
from protocols.regression.taking import ask_gated, images_of, made_with, records_of
from protocols.regression.tolerances import read_tolerances
from protocols.results import Finding
from protocols.table import assemble
from tests.mutants.mutants import Mutant
from tests.protocols.fakes import settings


class Asked(NamedTuple):
    """What is made of the gate."""

    tables: tuple[str, ...]
    models: tuple[str, ...]
    limit: int | None
    """Images of each data set; None for all."""


def taken(asked: Asked, store: Path) -> tuple[Snapshot, dict[tuple[str, str], Sequence[int]]]:
    """Return what some tables give, of the rows that models are asked for, and which images were asked about."""
    how = settings(store, scale="micro", models=asked.models, limit=asked.limit)
    prepared = ask_gated(asked.tables, how)
    records = records_of(prepared)
    results = [replace(assemble(p, p.settings), name=name_of(p.question.table, p.settings)) for p in prepared]
    cells = cells_of(results)
    cells = cells[cells["row"].isin({row for kept in records.values() for row in kept["row"]})]
    return Snapshot(cells, records, made_with(prepared, how)), images_of(prepared)


@functools.cache
def clean(asked: Asked) -> tuple[Snapshot, dict[tuple[str, str], Sequence[int]]]:
    """Return the same of the code without a fault, once."""
    with tempfile.TemporaryDirectory() as folder:
        return taken(asked, Path(folder))


def committed(asked: Asked) -> Snapshot:
    """Return what is expected of some rows and images: committed records, and committed means where all are asked.

    The means of a few images are not committed: they are those of the clean code.
    """
    expected, (found, images) = read_snapshot(), clean(asked)
    cells = expected.cells.merge(found.cells[["table", "row"]].drop_duplicates(), on=["table", "row"])
    return Snapshot(
        cells if asked.limit is None else found.cells,
        {
            table: _some(expected.records[table], set(of["row"]), {d: i for (t, d), i in images.items() if t == table})
            for table, of in found.records.items()
        },
    )


def _some(records: pd.DataFrame, rows: set[str], images: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Return the records of some rows about some images of each data set."""
    asked = {(data, image) for data, ids in images.items() for image in ids}
    of_image = [which in asked for which in zip(records["data"], records["image_id"], strict=True)]
    return records[np.array(of_image) & records["row"].isin(rows).to_numpy()]


def green(asked: Asked) -> list[Finding]:
    """Return what the gate says of the clean code."""
    return compare(committed(asked), clean(asked)[0], read_tolerances())


def against(mutant: Mutant, store: Path, *, limit: int | None) -> list[Finding]:
    """Plant a fault and return what the gate says of the tables and models that it concerns.

    Args:
        mutant: the fault.
        store: an empty folder.
        limit: images of each data set; None for all.
    """
    asked = Asked(mutant.tables, mutant.models, limit)
    with pytest.MonkeyPatch.context() as patch:
        if mutant.probe is None:
            expected = committed(asked)
        else:
            mutant.probe(patch)
            expected, _ = taken(asked, store / "clean")
        mutant.plant(patch)
        found, _ = taken(asked, store / "planted")
    return compare(expected, found, read_tolerances())
