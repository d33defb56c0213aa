"""Ask every model of a table of rows and fill its cells: what Tables 1, 2 and 3 have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from models.errors import BenchError
from protocols.paper import paper_value
from protocols.results import Cell, Column
from protocols.row_plan import Plan
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.shards import ImageSet, code_digest, run_shards
from protocols.tables import measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What each model is asked."""

    table: str
    version: int
    """Of the records."""
    data: str
    """Name of the data set."""
    sha256: str
    """Of the data set."""
    truth: Mapping[str, Any]
    """What else of the data set could change a record, besides the images."""
    asked: ImageSet[Any]
    """The images."""
    of_images: int
    """Images of the whole set."""
    at_once: int
    """Images of a shard."""
    ask: Callable[[Any, Sequence[Any], Callable[[int], None]], pd.DataFrame]
    """(model, some images, advance) -> their records."""

    @property
    def extent(self) -> str:
        """Say how many images are asked about, and of how many."""
        count = len(self.asked.images)
        return f"{count:,}" + ("" if count == self.of_images else f" of {self.of_images:,}")


class Asked(NamedTuple):
    """What the models answered."""

    runs: Mapping[str, CellRun]
    """By row."""
    facts: Mapping[str, Any]
    """For the provenance: models, data and runs."""


def ask_rows(plan: Plan, load: Callable[[str, Path | None], Any], question: Question, settings: Settings) -> Asked:
    """Ask the models of a plan one after the other; what is in the run store is not asked again.

    Args:
        plan: its subjects are asked.
        load: (name, checkpoint) -> the model with its weights.
        question: what is asked.
        settings: store, device, progress.

    Raises:
        BenchError: if a model or its weights fail, or no image can be read; finished shards stay.
    """
    runs: dict[str, CellRun] = {}
    identities: dict[str, dict[str, Any]] = {}
    for subject in plan.subjects:
        model = load(subject.model, subject.checkpoint)
        identities[subject.row] = identity_of(model, settings)
        runs[subject.row] = run_question(model, question, settings)
    return Asked(
        runs,
        {
            "models": identities,
            "data": {question.data: {"sha256": question.sha256, "images": len(question.asked.images)}},
            "runs": {row: run.fingerprint for row, run in runs.items()},
        },
    )


def identity_of(model: Any, settings: Settings) -> dict[str, Any]:
    """Return what tells a model from others."""
    return {
        "name": model.name,
        "checkpoint_sha256": model.checkpoint_sha256,
        "custom": model.custom,
        "device": settings.device,
    }


def run_question(model: Any, question: Question, settings: Settings) -> CellRun:
    """Ask one model; what is in the run store is not asked again.

    Raises:
        BenchError: if the model fails, or no image can be read; finished shards stay.
    """
    whole = {
        "protocol": question.table,
        "version": question.version,
        "model": identity_of(model, settings),
        "data": {"name": question.data, **question.truth},
        "code": code_digest(),
    }
    finished = run_shards(
        whole,
        question.asked,
        lambda images, advance: question.ask(model, images, advance),
        settings.store,
        at_once=question.at_once,
        description=f"{model.name} on {question.data}",
        provenance=settings.provenance,
        progress=settings.progress,
    )
    if finished.resumed:
        of_all = f"{finished.resumed:,} of {len(question.asked.images):,} images"
        settings.say(f"{model.name}: {of_all} from run {finished.fingerprint}")
    run = finished.cell_run(question.asked.ids)
    if not run.image_ids:
        raise BenchError(f"no photo could be read: {next(iter(run.skipped.values()))}")
    return run


def row_cells(plan: Plan, table: str, columns: Sequence[Column], scores: Mapping[str, Scores]) -> Iterator[Cell]:
    """Yield the cells of all rows: measured, or why not."""
    for row in plan.rows:
        for column in columns:
            paper = paper_value(table, row.label, column.key)
            if row.label in scores:
                blank = Cell(row.label, column.key, "measured", paper)
                yield measured(blank, scores[row.label].intervals[column.key])
            else:
                status, why = plan.unmeasured[row.label]
                yield Cell(row.label, column.key, status, paper, why=why)
