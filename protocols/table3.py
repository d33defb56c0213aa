"""Table 3: ADE20K mIoU of Mask2Former (section 4.2)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.data.ade20k import open_ade20k
from bench.data.catalog import FOLDER_SETS
from bench.data.dead_leaves.ade20k import ade20k_root as micro_root
from bench.metrics.interval import Interval
from bench.metrics.miou import class_iou, mean_iou_draws, mean_iou_interval, paired_mean_iou_interval
from bench.metrics.random_effects import RandomEffectsMean
from models.errors import BenchError
from protocols.comparisons import Sampled, of_statistics, over_seeds, seed_notes
from protocols.data_set import DataSet, spread
from protocols.measured import Measured
from protocols.plan import Plan
from protocols.results import Column, Comparison
from protocols.saved_predictions import Recordings, read_recordings
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.shards import SKIPPED, ImageSet
from protocols.watched import Overlap, Watched

__all__ = ["micro_root"]

# What these settings mean is said in protocols.tables.Table.
NAME = "table3"
VERSION = 1
TITLE = "Semantic segmentation, ADE20K mIoU (Table 3)"
COLUMNS = (Column("miou", "mIoU", "ADE20K"),)
TASK = "image-segmentation"
METRIC = "mean_iou"
DATA_SETS = ("ade20k",)
TAKES = frozenset({"scale", "models", "checkpoint", "limit", "device"})
ASK = "protocols.table3:ask"
CARDS = "models.mask2former.cards"
MODELS = "segmentation model"
PHOTOS = "ade20k/images/validation"
WORLDS = {
    "paper": "ADE20K photos of BENCH_DATA and full-size models",
    "micro": "dead leaves as ADE20K and micro models",
}
CONTROLS = ("mask2former-scratch-ti-micro",)
COMPARED = (
    ("SAMI-Ti", "MAE-Ti"),
    ("SAMI-S", "MAE-S"),
    ("SAMI-B", "MAE-B"),
    ("SAMI-Ti", "mask2former-scratch-ti-micro"),
    ("MAE-Ti", "mask2former-scratch-ti-micro"),
)
LIMITED = "{:,} images, evenly spread"
IMAGES_A_SHARD = 50
WATCHED = Watched(
    what="classes of images", key=("image_id", "class"), values=(Overlap("intersection", "union", moved=0.002),)
)
NO_CLASS = -1
"""Class of the one record of a photo that has none: skipped, or nothing labelled."""
RECORD_TYPES = {"image_id": "int64", "file": "str", "class": "int64", "intersection": "int64", "union": "int64"}
"""One record for each image and class that is in its label map or in the answer, areas in px."""


def open_data(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open the photos of a plan."""
    return data_set(open_ade20k(plan.root), settings.limit)


def data_set(photos: Any, limit: int | None) -> DataSet:
    """Return what is asked of photos with label maps (`bench.data.ade20k`); a limit is spread evenly."""
    asked = spread(len(photos), limit)
    return DataSet(
        name="ade20k",
        source=photos,
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
        published="as many as published" if len(asked) == FOLDER_SETS["ade20k"].n_images else "",
    )


def ask(model: Any, data: DataSet, images: Sequence[int], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return the records of photos, see `RECORD_TYPES`.

    A photo that cannot be read, or whose label map does not fit it, is skipped and says why.

    Args:
        model: has `areas(photo, labels, classes)`, px of intersection and union by class.
        data: see `data_set`.
        images: numbers of photos.
        advance: told of photos as they are done.
    """
    rows: list[dict[str, object]] = []
    for image in images:
        rows += _ask_one(model, data.source, image)
        advance(1)
    types = {**RECORD_TYPES, SKIPPED: "str"}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _ask_one(model: Any, photos: Any, image: int) -> list[dict[str, object]]:
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


def saved(data: DataSet, settings: Settings) -> Recordings:
    """Return what models answered when they were trained, about the images that are asked."""
    return read_recordings(NAME, VERSION, data_sha256=data.sha256, image_ids=data.asked.ids, folder=settings.records)


class Areas(NamedTuple):
    """What a model got right on each image."""

    image_ids: tuple[int, ...]
    intersections: np.ndarray
    """int64 [N, C] px."""
    unions: np.ndarray
    """int64 [N, C] px."""


def areas_of(run: CellRun, classes: int) -> Areas:
    """Return the areas of all images that were asked; those without any class have none."""
    place = {image: row for row, image in enumerate(run.image_ids)}
    intersections, unions = np.zeros((2, len(place), classes), dtype=np.int64)
    rows = run.records["image_id"].map(place).to_numpy(np.int64)
    columns = run.records["class"].to_numpy(np.int64)
    intersections[rows, columns] = run.records["intersection"]
    unions[rows, columns] = run.records["union"]
    return Areas(run.image_ids, intersections, unions)


def score(run: CellRun, data: DataSet) -> Scores:
    """Return mIoU in 0..1 with its interval; n is the number of images."""
    run = replace(run, records=run.records[run.records["class"] != NO_CLASS])
    areas = areas_of(run, len(data.source.names))
    return Scores({"miou": mean_iou_interval(areas.intersections, areas.unions)}, areas)


def over_trainings(first: Sequence[Scores], second: Sequence[Scores], column: str) -> RandomEffectsMean:
    """Return the difference of a column, first - second, over trainings of both."""
    return of_statistics([sampled(one)[column] for one in first], [sampled(one)[column] for one in second])


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of mIoU, first - second, over the images that both were asked about."""
    shared = sorted(set(first.basis.image_ids) & set(second.basis.image_ids))
    pairs = []
    for areas in (first.basis, second.basis):
        rows = [areas.image_ids.index(image) for image in shared]
        pairs.append((areas.intersections[rows], areas.unions[rows]))
    return {"miou": paired_mean_iou_interval(*pairs)}


def sampled(scores: Scores) -> dict[str, Sampled]:
    """Return mIoU with its bootstrap samples."""
    areas: Areas = scores.basis
    draws = mean_iou_draws(areas.intersections, areas.unions)
    return {"miou": Sampled(scores.intervals["miou"].value, draws, len(areas.image_ids))}


def iou_by_class(scores: Scores) -> np.ndarray:
    """Return the IoU of each class over all images, float64 [C]; NaN where it is neither there nor predicted."""
    areas: Areas = scores.basis
    return class_iou(areas.intersections.sum(0), areas.unions.sum(0))


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the trainings that both rows have, if several, else over images."""
    return over_seeds(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say what was asked and left out, and which classes come out best and worst."""
    names = measured.data.source.names
    yield f"{len(names):,} classes; label 0 is no class, such pixels count nowhere"
    yield "how the plain ViT feeds Mask2Former is our choice, paper silent: ViTDet's simple feature pyramid"
    for row, found in measured.scores.items():
        iou = iou_by_class(found[0])
        known = np.flatnonzero(~np.isnan(iou))
        if known.size:
            best, worst = known[np.argmax(iou[known])], known[np.argmin(iou[known])]
            yield (
                f"{row}: best class {names[best]} {100 * iou[best]:.1f}, worst {names[worst]} {100 * iou[worst]:.1f}"
            )
    if measured.runs:
        skipped = next(iter(measured.runs.values()))[0].skipped
        if skipped:
            yield f"left out {len(skipped):,} images"
        yield from (f"left out: {why}" for why in skipped.values())
    yield from seed_notes(COLUMNS, measured.scores)
