"""Make Table 1, 2 or 3 from its module: ask every model, score, compare, fill the cells."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from models.engine import exact_engine, threads
from models.errors import BenchError
from protocols.data_set import DataSet
from protocols.paper import paper_value
from protocols.results import Cell, Column, TableResult
from protocols.row_plan import Plan
from protocols.saved_predictions import with_recorded
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.shards import code_digest, run_shards
from protocols.tables import measured


def make_table(
    table: ModuleType, plan: Plan, data: DataSet, settings: Settings, *, cards: Any = None
) -> TableResult | None:
    """Ask every model of the plan and return the table; None on all but the first process.

    Args:
        table: its module.
        plan: see `protocols.row_plan`.
        data: what the models are asked about.
        settings: store, device, progress.
        cards: the models, in place of the table's.

    Raises:
        BenchError: if a model or its data fail; finished shards stay.
    """
    cards = cards or importlib.import_module(table.CARDS)
    engine = {"engine": exact_engine()} if table.EXACT else {}
    runs: dict[str, CellRun] = {}
    identities: dict[str, dict[str, Any]] = {}
    with threads(1 if table.EXACT and plan.scale == "micro" else None):
        for subject in plan.subjects:
            model = cards.load(subject.model, subject.checkpoint, device=settings.device)
            identities[subject.row] = identity_of(model, settings)
            runs[subject.row] = run_model(table, model, data, settings)
    if os.environ.get("RANK", "0") != "0":
        return None
    told = with_recorded(plan, runs, table.recordings(data, settings))
    scores = {
        row: {seed: table.score(run, data) for seed, run in sorted(of_row.items())} for row, of_row in told.runs.items()
    }
    return TableResult(
        name=table.NAME,
        title=table.TITLE,
        scale=plan.scale,
        world=f"{plan.world} ({data.extent} images{f', {table.PUBLISHED}' if data.published else ''})",
        comparable=plan.scale == "paper" and data.published,
        preset="",
        columns=table.COLUMNS,
        rows=told.plan.rows,
        cells=tuple(_cells(told.plan, table.NAME, table.COLUMNS, {row: of[0] for row, of in scores.items()})),
        comparisons=tuple(table.comparisons(scores, told, data, settings)),
        footnotes=tuple(table.footnotes(scores, told, data, settings)),
        command=settings.command,
        provenance={
            **settings.provenance,
            "models": identities,
            "data": {data.name: {"sha256": data.sha256, "images": len(data.asked.images)}},
            "runs": {row: run.fingerprint for row, run in runs.items()},
            **engine,
        },
        pairing=table.pairing(told, data, settings),
    )


def identity_of(model: Any, settings: Settings) -> dict[str, Any]:
    """Return what tells a model from others."""
    return {
        "name": model.name,
        "checkpoint_sha256": model.checkpoint_sha256,
        "custom": model.custom,
        "device": settings.device,
    }


def run_model(table: ModuleType, model: Any, data: DataSet, settings: Settings) -> CellRun:
    """Ask one model; what is in the run store is not asked again.

    Raises:
        BenchError: if the model fails, or no image can be read; finished shards stay.
    """
    whole = {
        "protocol": table.NAME,
        "version": table.VERSION,
        "model": identity_of(model, settings),
        "data": {"name": data.name, **data.truth},
        "code": code_digest(),
    }
    finished = run_shards(
        whole,
        data.asked,
        partial(table.ask, model, data),
        settings.store,
        at_once=table.IMAGES_A_SHARD,
        description=f"{model.name} on {data.name}",
        provenance=settings.provenance,
        progress=settings.progress,
    )
    if finished.resumed:
        of_all = f"{finished.resumed:,} of {len(data.asked.images):,} images"
        settings.say(f"{model.name}: {of_all} from run {finished.fingerprint}")
    run = finished.cell_run(data.asked.ids)
    if not run.image_ids:
        raise BenchError(f"no photo could be read: {next(iter(run.skipped.values()))}")
    return run


def _cells(plan: Plan, table: str, columns: Sequence[Column], scores: Mapping[str, Scores]) -> Iterator[Cell]:
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
