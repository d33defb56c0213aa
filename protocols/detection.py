"""Ask detectors about COCO's photos and assemble Table 2: one record a detection, kept in the run store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pycocotools import mask as rle

from bench.data import ImageInfo, Instances, is_published_set, read_rgb
from models.engine import exact_engine, threads
from models.errors import BenchError
from protocols import seeds, table2
from protocols.detectors import Detections, Model, Registry
from protocols.paper import claims
from protocols.recorded import read_recordings, with_recorded
from protocols.results import TableResult
from protocols.row_plan import Plan
from protocols.row_table import Question, ask_rows, row_cells
from protocols.scores import CellRun
from protocols.settings import Settings
from protocols.shards import SKIPPED, asked_about

JUDGED = seeds.Judged(table2.compare, table2.sampled)
IMAGES_A_SHARD = 16
"""A killed run loses at most one shard."""


def make_table(plan: Plan, registry: Registry, instances: Instances, settings: Settings) -> TableResult | None:
    """Ask every detector of the plan and return Table 2; None on all but the first process.

    Raises:
        BenchError: if a model or its data fail; finished shards stay.
    """
    engine = exact_engine()
    question = question_about(instances, settings.limit)

    def load(name: str, checkpoint: Path | None) -> Model:
        model = registry.load(name, checkpoint, device=settings.device)
        check_classes(model, instances)
        return model

    with threads(1 if plan.scale == "micro" else None):
        runs, facts = ask_rows(plan, load, question, settings)
    if os.environ.get("RANK", "0") != "0":
        return None
    recordings = read_recordings(
        table2.NAME,
        table2.VERSION,
        data_sha256=instances.sha256,
        image_ids=question.asked.ids,
        folder=settings.records,
    )
    told = with_recorded(plan, runs, recordings)
    scores = {
        row: {seed: table2.score(run, instances) for seed, run in sorted(of_row.items())}
        for row, of_row in told.runs.items()
    }
    whole = is_published_set(instances) and len(question.asked.images) == question.of_images
    return TableResult(
        name=table2.NAME,
        title=table2.TITLE,
        scale=plan.scale,
        world=f"{plan.world} ({question.extent} images{', the published set' if whole else ''})",
        comparable=plan.scale == "paper" and whole,
        preset="",
        columns=table2.COLUMNS,
        rows=told.plan.rows,
        cells=tuple(row_cells(told.plan, table2.NAME, table2.COLUMNS, {row: of[0] for row, of in scores.items()})),
        comparisons=tuple(seeds.comparisons(table2.NAME, table2.COMPARED, table2.COLUMNS, scores, JUDGED)),
        footnotes=(*_footnotes(instances, told.runs, settings), *seeds.notes(table2.COLUMNS, scores)),
        command=settings.command,
        provenance={**settings.provenance, **facts, "engine": engine},
    )


def question_about(instances: Instances, limit: int | None) -> Question:
    """Return what every detector is asked: what is in the photos of a data set, or in its first ones."""
    images = instances.images[:limit]
    return Question(
        table=table2.NAME,
        version=table2.VERSION,
        data=instances.name,
        sha256=instances.sha256,
        truth={"sha256": instances.sha256},
        asked=asked_about(images),
        of_images=len(instances.images),
        at_once=IMAGES_A_SHARD,
        ask=lambda model, some, advance: ask(model, instances, some, advance),
    )


def check_classes(model: Model, instances: Instances) -> None:
    """Raise a BenchError if a detector knows more or fewer classes than the data set has categories."""
    if model.classes != len(instances.categories):
        raise BenchError(
            f"model '{model.name}' knows {model.classes} classes, {instances.annotation_path} has "
            f"{len(instances.categories)} categories: use a detector that was trained for them"
        )


def ask(
    model: Model, instances: Instances, images: Sequence[ImageInfo], advance: Callable[[int], None]
) -> pd.DataFrame:
    """Return a record for each detection in some photos, and one for each photo that cannot be read."""
    types = {**table2.RECORD_TYPES, SKIPPED: "str"}
    category_ids = sorted(instances.categories)
    rows: list[dict[str, object]] = []
    for info in images:
        try:
            photo = read_rgb(info.path, size=(info.height, info.width))
        except BenchError as unreadable:
            blank = {name: "" if kind == "str" else 0 for name, kind in types.items()}
            rows.append({**blank, "image_id": info.id, SKIPPED: str(unreadable)})
        else:
            rows += _records(model.detect([photo])[0], info, category_ids)
        advance(1)
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _records(found: Detections, info: ImageInfo, category_ids: Sequence[int]) -> Iterator[dict[str, object]]:
    for box, score, label, mask in zip(
        found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), found.masks, strict=True
    ):
        x1, y1, x2, y2 = box
        yield {
            "image_id": info.id,
            "category_id": category_ids[label - 1],
            "score": score,
            "x": x1,
            "y": y1,
            "width": x2 - x1,
            "height": y2 - y1,
            "image_height": info.height,
            "image_width": info.width,
            "counts": rle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii"),
            SKIPPED: "",
        }


def _footnotes(instances: Instances, runs: Mapping[str, Mapping[int, CellRun]], settings: Settings) -> Iterator[str]:
    """Say what was asked and left out, and what the paper's text claims."""
    if settings.limit is not None:
        yield f"limited run: the first {settings.limit:,} images"
    if runs:
        yield "detections: " + ", ".join(f"{row} {len(of_seed[0].records):,}" for row, of_seed in runs.items())
        yield from (f"left out {why}" for why in next(iter(runs.values()))[0].skipped.values())
    yield from (str(problem) for problem in instances.problems)
    for claim in claims(table2.NAME):
        if claim.note:
            yield f"the paper's text puts {claim.first} {100 * claim.claimed:.1f} above {claim.second}, {claim.note}"
