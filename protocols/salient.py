"""Salient instance segmentation (section 4.3): U²-Net's map, three points in it, the mask that a model answers.

The paper shows pictures of it and no numbers; the scores are ours. How records are made is
protocols/salient_prompts.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.data.dead_leaves.salient import salient_root as micro_root
from bench.data.salient import open_salient
from bench.metrics.interval import Interval, mean_interval, paired_mean_interval
from bench.metrics.saliency import THRESHOLDS, max_f_interval, paired_max_f_interval
from models.cards import resolve
from protocols.comparisons import over_images
from protocols.data_set import DataSet, spread
from protocols.instance_sets import TAKES as OF_INSTANCE_SETS
from protocols.measured import Measured
from protocols.plan import Plan
from protocols.results import Column, Comparison
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.shards import ImageSet

__all__ = ["micro_root"]

# What these settings mean is said in protocols.tables.Table.
NAME = "salient"
VERSION = 1
TITLE = "Salient instance segmentation from three points in U²-Net's map (section 4.3)"
COLUMNS = (
    Column("s_measure", "S-measure", "map"),
    Column("max_f", "max F", "map"),
    Column("mae", "MAE", "map", less=True),
    Column("iou", "mIoU", "instance"),
)
DATA_SETS = ("salient",)
TAKES = OF_INSTANCE_SETS - {"data"}
ASKED_WITH = ("mask_pick", "refinement", "seed", "repeats", "precision")
ASK = "protocols.salient_prompts:ask"
CARDS = "protocols.salient_models"
MODELS = "model"
WORLDS = {
    "paper": "photos with masks in BENCH_DATA",
    "micro": "dead leaves at 256 px, one of them larger, on top and near the middle",
}
MIXED = True
COMPARED = (
    ("EfficientSAM-S", "SAM"),
    ("EfficientSAM-S", "EfficientSAM-Ti"),
    ("EfficientSAM-Ti", "MobileSAM"),
    ("EfficientSAM-Ti", "U2-Net"),
    ("EfficientSAM-S", "U2-Net"),
)
EXACT = True
IMAGES_A_SHARD = 16
LIMITED = "{:,} images, evenly spread"


def open_data(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open photos and the network that makes their maps; a limit is spread evenly.

    Raises:
        MissingData: if there are no photos with masks.
        BenchError: if the network's weights are not here.
    """
    photos = open_salient(plan.root)
    maker = resolve("protocols.salient_models:map_maker")(plan.subjects, settings.checkpoints, settings.device)
    asked = spread(len(photos), settings.limit)
    return DataSet(
        name=name,
        source=resolve("protocols.salient_prompts:Source")(photos, maker),
        sha256=photos.sha256,
        truth={"maps": maker.identity},
        asked=ImageSet(
            images=asked,
            ids=asked,
            names=[photos.paths[image].name for image in asked],
            files=lambda image: (photos.paths[image], photos.mask_paths[image]),
            read=lambda image: photos[image],
        ),
        of_images=len(photos),
        axes=settings.axes,
        words=f"maps: {maker.name}{' with weights of yours' if maker.custom else ''}",
    )


class ByImage(NamedTuple):
    """Scores of each photo, means over the draws of points."""

    values: pd.DataFrame
    """Columns iou, s_measure and mae, 0..1, by image."""
    curves: np.ndarray
    """float64 [N, 256], F-measure against the threshold."""


def by_image(records: pd.DataFrame) -> ByImage:
    """Return the scores of each photo, in the order of their numbers."""
    groups = records.groupby("image_id", sort=True)
    curves = [np.mean([np.frombuffer(curve) for curve in of_image["f_curve"]], axis=0) for _, of_image in groups]
    return ByImage(groups[["iou", "s_measure", "mae"]].mean(), np.array(curves).reshape(-1, THRESHOLDS))


def score(run: CellRun, data: DataSet) -> Scores:
    """Return each column in 0..1 with its interval over photos."""
    basis = by_image(run.records)
    images = basis.values.index.to_numpy()
    found = {str(key): mean_interval(basis.values[key].to_numpy(), images) for key in basis.values}
    return Scores({**found, "max_f": max_f_interval(basis.curves, images)}, basis)


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each column, first - second, over the photos that both were asked about."""
    shared = first.basis.values.index.intersection(second.basis.values.index)
    rows = [one.basis.values.index.get_indexer(shared) for one in (first, second)]
    (one, its_curves), (other, other_curves) = (
        (of.basis.values.loc[shared], of.basis.curves[row]) for of, row in zip((first, second), rows, strict=True)
    )
    images = shared.to_numpy()
    found = {str(key): paired_mean_interval(one[key].to_numpy(), other[key].to_numpy(), images) for key in one}
    return {**found, "max_f": paired_max_f_interval(its_curves, other_curves, images)}


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the same photos."""
    return over_images(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say what was asked, how points were drawn and what the columns are."""
    source, axes = measured.data.source, measured.data.chosen
    draws = "" if axes.repeats == 1 else f", {axes.repeats} draws, means over them"
    yield (
        f"three points, drawn evenly from the pixels of {source.maker.name}'s map of at least half its largest value "
        f"(seed {axes.seed} and the photo's number{draws}); all models get the same points"
    )
    yield "U2-Net: the map itself, and as its instance the pixels of at least half the largest value"
    yield "other rows: the answered mask, scored as a map that is 1 inside and 0 outside"
    yield "S-measure: Fan et al. 2017, alpha 0.5; max F: beta² 0.3, at the one threshold that is best for all photos"
    yield "the paper shows pictures and no numbers: data and scores are our choice"
    for of_seed in list(measured.runs.values())[:1]:
        yield f"{source.photos.name}: {len(of_seed[0].image_ids):,} photos"
        yield from (f"left out: {why}" for why in of_seed[0].skipped.values())


def pictures(measured: Measured) -> Mapping[str, bytes]:
    """Return the sheet of pictures as PNG, by the name of its file."""
    sheet: bytes = resolve("protocols.salient_sheet:sheet")(measured)
    return {"sheet": sheet}
