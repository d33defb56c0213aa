"""Everything mode: how many of the annotated objects are among the masks that a model finds without a prompt.

The paper shows pictures of it (Figures 5 and 6) and no numbers; the scores are ours. How records are made is
protocols/everything_prompts.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.data.dead_leaves import world_root as micro_root
from bench.metrics.average_recall import CAPS, object_recalls
from bench.metrics.interval import Interval, mean_interval, paired_mean_interval
from models.cards import resolve
from protocols.comparisons import over_images
from protocols.data_set import DataSet
from protocols.instance_sets import WORLDS, data_notes, open_instance_set
from protocols.measured import Measured
from protocols.plan import Plan
from protocols.results import Column, Comparison
from protocols.scores import CellRun, Scores
from protocols.settings import Settings

__all__ = ["WORLDS", "micro_root"]

# What these settings mean is said in protocols.tables.Table.
NAME = "everything"
VERSION = 1
TITLE = "Everything mode: annotated objects among the masks found without a prompt"
TIMES = ("seconds",)
RECALLS = tuple(f"ar{cap}" for cap in CAPS)
COLUMNS = (
    *(Column(f"ar{cap}", f"AR@{cap}", "COCO") for cap in CAPS),
    Column("masks", "masks/image", "", percent=False),
    Column("seconds", "s/image", "", percent=False, less=True),
)
DATA_SETS = ("coco",)
TAKES = frozenset({"scale", "models", "checkpoint", "trust", "limit", "device", "engine", "data"})
ASKED_WITH = ()
ASK = "protocols.everything_prompts:ask"
CARDS = "protocols.everything_models"
TRAINED_WITH = "table4"
MODELS = "model"
MIXED = True
COMPARED = (
    ("EfficientSAM-S", "SAM"),
    ("EfficientSAM-S", "EfficientSAM-Ti"),
    ("EfficientSAM-Ti", "MobileSAM"),
    ("EfficientSAM-Ti", "FastSAM"),
    ("EfficientSAM-S", "FastSAM"),
)
EXACT = True
IMAGES_A_SHARD = 16
LIMITED = "the first {:,} images"

GENERATOR: Mapping[str, Mapping[str, Any]] = {
    "paper": {"points_per_side": 32, "pred_iou_thresh": 0.88, "stability_score_thresh": 0.95},
    "micro": {"points_per_side": 16, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.7},
}
"""Settings of `models.everything` by scale of the data, for all models alike. Paper: SAM's published defaults. Micro,
our choice: fewer points for images of 256 px, and thresholds that small models pass too. Others are the defaults."""
IMAGES = {"paper": None, "micro": 24}
"""How many images are asked about without --limit, None for all."""


def open_data(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open COCO or data of the user's own; without a limit the first `IMAGES`.

    Raises:
        MissingData: if it is not there.
    """
    limit = IMAGES[plan.data_scale] if settings.limit is None else settings.limit
    data = open_instance_set(name, plan, replace(settings, limit=limit))
    return replace(data, axes=None, truth={**data.truth, "generator": GENERATOR[plan.data_scale]})


class Basis(NamedTuple):
    """What a model found, by object and by image."""

    objects: pd.DataFrame
    """Columns image_id and `RECALLS`, 0..1, by annotation."""
    images: pd.DataFrame
    """Columns masks and seconds, by image."""


def score(run: CellRun, data: DataSet) -> Scores:
    """Return average recalls in 0..1, masks and seconds an image, with their intervals over images."""
    basis = _basis(run, data)
    objects, images = basis.objects["image_id"].to_numpy(), basis.images.index.to_numpy()
    found = {key: mean_interval(basis.objects[key].to_numpy(), objects) for key in RECALLS}
    found |= {key: mean_interval(basis.images[key].to_numpy(), images) for key in ("masks", "seconds")}
    return Scores(found, basis)


def _basis(run: CellRun, data: DataSet) -> Basis:
    masks = run.records[run.records["rank"] >= 0]
    objects = object_recalls(data.source.annotation_path, _results(masks), image_ids=run.image_ids)
    by_object = pd.DataFrame(objects.recall, index=objects.annotation_id, columns=list(RECALLS))
    of_image = run.records.groupby("image_id")
    counts = (run.records["rank"] >= 0).groupby(run.records["image_id"]).sum().astype(np.float64)
    images = pd.DataFrame({"masks": counts, "seconds": of_image["seconds"].first()})
    return Basis(by_object.assign(image_id=objects.image_id), images)


def _results(masks: pd.DataFrame) -> list[dict[str, Any]]:
    """Return masks in COCO's results format; scores are such that the best of an image come first."""
    return [
        {
            "image_id": row["image_id"],
            "segmentation": {"size": [row["height"], row["width"]], "counts": row["counts"]},
            "score": -float(row["rank"]),
        }
        for row in masks.to_dict("records")
    ]


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each column, first - second, over the same objects and the same images."""
    one, other = first.basis, second.basis
    objects = one.objects.index.intersection(other.objects.index)
    images = one.images.index.intersection(other.images.index)
    of_object = one.objects.loc[objects, "image_id"].to_numpy()
    found = {key: _paired(one.objects[key], other.objects[key], objects, of_object) for key in RECALLS}
    return found | {
        str(key): _paired(one.images[key], other.images[key], images, images.to_numpy()) for key in one.images
    }


def _paired(first: pd.Series, second: pd.Series, shared: pd.Index, groups: np.ndarray) -> Interval:
    """Return the paired difference of two columns over the entries that both have."""
    return paired_mean_interval(first.loc[shared].to_numpy(), second.loc[shared].to_numpy(), groups)


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the same images."""
    return over_images(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say what was asked, with which settings, and what the columns are."""
    name, used = measured.data.label, measured.data.truth["generator"]
    for of_seed in list(measured.scores.values())[:1]:
        basis: Basis = of_seed[0].basis
        yield f"{name}: {len(basis.objects):,} objects in {len(basis.images):,} images, crowds left out"
    for runs in list(measured.runs.values())[:1]:
        yield from (f"{name}: left out {why}" for why in runs[0].skipped.values())
    side, usual = used["points_per_side"], used == GENERATOR["paper"]
    yield (
        f"masks are those of SAM's automatic mask generator: {side} x {side} points, predicted IoU above "
        f"{used['pred_iou_thresh']:g}, stability at least {used['stability_score_thresh']:g}, "
        f"{'its defaults' if usual else 'ours for small models, its defaults otherwise'}, the same for every model; "
        "FastSAM's are those of its own pass, with its published settings"
    )
    yield (
        "AR@k: share of the annotated objects that are found, whatever their category, mean over the IoU thresholds "
        ".50, .55, ..., .95 (COCO's average recall); of an image the k masks of highest predicted IoU count, of "
        "FastSAM, which predicts none, those of highest confidence"
    )
    counts = [int(of_seed[0].basis.images["masks"].max()) for of_seed in measured.scores.values()]
    if counts and 0 < max(counts) <= CAPS[0]:
        yield f"no model finds more than {max(counts):,} masks in an image, so AR@{CAPS[0]} and AR@{CAPS[1]} are equal"
    yield (
        "s/image: wall clock from pixels to run lengths, one image at a time, on the machine and in the run that made "
        "the records, after one untimed pass; stored with them and not measured again: compare it only between runs of "
        "one machine that did nothing else"
    )
    yield "the paper shows pictures and no numbers: data and scores are our choice"
    yield from data_notes(measured.data)


def pictures(measured: Measured) -> Mapping[str, bytes]:
    """Return the sheet of pictures as PNG, by the name of its file."""
    sheet: bytes = resolve("protocols.everything_sheet:sheet")(measured)
    return {"sheet": sheet}
