"""Ask segmentation models about held-out photos and assemble Table 3: areas by photo and class in the run store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from bench.data.published import FOLDER_SETS
from models.errors import BenchError
from protocols import seeds, table3
from protocols.classification import spread
from protocols.recorded import read_recordings, with_recorded
from protocols.results import TableResult
from protocols.row_plan import Plan
from protocols.row_table import Question, ask_rows, row_cells
from protocols.scores import CellRun, Scores
from protocols.segmenters import Model, Registry
from protocols.settings import Settings
from protocols.shards import SKIPPED, ImageSet

JUDGED = seeds.Judged(table3.compare, table3.sampled)
IMAGES_A_SHARD = 50
"""A killed run loses at most one shard."""
NO_CLASS = -1
"""Class of the one record of a photo that has none: skipped, or nothing labelled."""


class Photos(Protocol):
    """Photos with label maps, see `bench.data.ade20k`."""

    @property
    def paths(self) -> Sequence[Path]:
        """Return the photos' files."""

    @property
    def label_paths(self) -> Sequence[Path]:
        """Return the label maps' files."""

    @property
    def names(self) -> Sequence[str]:
        """Return the names of the classes."""

    @property
    def sha256(self) -> str:
        """Return a hash of the set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Return uint8 [H, W, 3] RGB and classes uint8 [H, W]."""


def make_table(plan: Plan, registry: Registry, photos: Photos, settings: Settings) -> TableResult | None:
    """Ask every model of the plan and return Table 3; None on all but the first process.

    Raises:
        BenchError: if a model or its weights fail; finished shards stay.
    """
    asked = spread(len(photos), settings.limit)
    question = Question(
        table=table3.NAME,
        version=table3.VERSION,
        data="ade20k",
        sha256=photos.sha256,
        truth={"classes": list(photos.names)},
        asked=ImageSet(
            images=asked,
            ids=asked,
            names=[photos.paths[image].name for image in asked],
            files=lambda image: (photos.paths[image], photos.label_paths[image]),
            read=lambda image: photos[image],
        ),
        of_images=len(photos),
        at_once=IMAGES_A_SHARD,
        ask=lambda model, images, advance: ask(model, photos, images, advance),
    )
    found, facts = ask_rows(plan, partial(registry.load, device=settings.device), question, settings)
    if os.environ.get("RANK", "0") != "0":
        return None
    recordings = read_recordings(
        table3.NAME, table3.VERSION, data_sha256=photos.sha256, image_ids=asked, folder=settings.records
    )
    told = with_recorded(plan, found, recordings)
    scores = {
        row: {seed: table3.score(_without_blanks(run), len(photos.names)) for seed, run in sorted(of_row.items())}
        for row, of_row in told.runs.items()
    }
    own = {row: of_row[0] for row, of_row in scores.items()}
    published = len(asked) == FOLDER_SETS["ade20k"].n_images
    return TableResult(
        name=table3.NAME,
        title=table3.TITLE,
        scale=plan.scale,
        world=f"{plan.world} ({question.extent} images{', as many as published' if published else ''})",
        comparable=plan.scale == "paper" and published,
        preset="",
        columns=table3.COLUMNS,
        rows=told.plan.rows,
        cells=tuple(row_cells(told.plan, table3.NAME, table3.COLUMNS, own)),
        comparisons=tuple(seeds.comparisons(table3.NAME, table3.COMPARED, table3.COLUMNS, scores, JUDGED)),
        footnotes=(*_footnotes(photos, found, own, settings), *seeds.notes(table3.COLUMNS, scores)),
        command=settings.command,
        provenance={**settings.provenance, **facts},
    )


def _without_blanks(run: CellRun) -> CellRun:
    """Leave out the records of photos in which nothing is labelled."""
    return replace(run, records=run.records[run.records["class"] != NO_CLASS])


def ask(model: Model, photos: Photos, images: Sequence[int], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return the records of photos, see `table3.RECORD_TYPES`.

    A photo that cannot be read, or whose label map does not fit it, is skipped and says why.
    """
    rows: list[dict[str, object]] = []
    for image in images:
        rows += _ask_one(model, photos, image)
        advance(1)
    types = {**table3.RECORD_TYPES, SKIPPED: "str"}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _ask_one(model: Model, photos: Photos, image: int) -> list[dict[str, object]]:
    record: dict[str, object] = {"image_id": image, "file": photos.paths[image].name, SKIPPED: ""}
    nothing = {"class": NO_CLASS, "intersection": 0, "union": 0}
    try:
        photo, truth = photos[image]
    except BenchError as broken:
        return [{**record, **nothing, SKIPPED: str(broken)}]
    intersections, unions = model.areas(photo, truth, len(photos.names))
    found = [
        {**record, "class": int(c), "intersection": int(intersections[c]), "union": int(unions[c])}
        for c in np.flatnonzero(unions)
    ]
    return found or [{**record, **nothing}]


def _footnotes(
    photos: Photos, runs: Mapping[str, CellRun], scores: Mapping[str, Scores], settings: Settings
) -> Iterator[str]:
    """Say what was asked and left out, and which classes come out best and worst."""
    if settings.limit is not None:
        yield f"limited run: {settings.limit:,} images, evenly spread"
    yield f"{len(photos.names):,} classes; label 0 is no class, such pixels count nowhere"
    yield "how the plain ViT feeds Mask2Former is our choice, paper silent: ViTDet's simple feature pyramid"
    for row, found in scores.items():
        iou = table3.iou_by_class(found)
        known = np.flatnonzero(~np.isnan(iou))
        if known.size:
            best, worst = known[np.argmax(iou[known])], known[np.argmin(iou[known])]
            yield (
                f"{row}: best class {photos.names[best]} {100 * iou[best]:.1f}, "
                f"worst {photos.names[worst]} {100 * iou[worst]:.1f}"
            )
    if runs:
        skipped = next(iter(runs.values())).skipped
        if skipped:
            yield f"left out {len(skipped):,} images"
        for why in skipped.values():
            yield f"left out: {why}"
