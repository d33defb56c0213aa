"""What Table 4's mIoU hides: outlines, prompts that miss a little, and the wrong pick; ours, the paper has none of it.

How records are made is protocols/robustness_prompts.py; this is what they mean.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd

from bench.data.dead_leaves import world_root as micro_root
from bench.metrics.boundary import RATIO
from bench.metrics.interval import Interval, mean_interval, paired_mean_interval
from protocols.clicks import COMPARED
from protocols.comparisons import over_images
from protocols.data_set import DataSet
from protocols.instance_sets import TAKES as OF_INSTANCE_SETS
from protocols.instance_sets import WORLDS, data_notes
from protocols.instance_sets import open_instance_set as open_data
from protocols.measured import Measured
from protocols.prompts.jitter import SHARES
from protocols.results import Column, Comparison
from protocols.scores import CellRun, Scores
from protocols.table4 import NEVER_RELEASED, counted

__all__ = ["COMPARED", "NEVER_RELEASED", "WORLDS", "micro_root", "open_data"]

# What these settings mean is said in protocols.tables.Table.
NAME = "robustness"
VERSION = 1
TITLE = "Boundaries, inexact prompts and the pick among three masks"
DATA_SETS = ("coco",)
TAKES = OF_INSTANCE_SETS - {"repeats"}
COLUMNS = (
    Column("coco_box", "box", "COCO"),
    Column("coco_boundary", "boundary", "COCO"),
    *(Column(f"coco_box{share}", f"box ±{share}", "COCO") for share in SHARES),
    Column("coco_regret", "regret", "COCO", less=True),
    Column("coco_click", "click", "COCO"),
    *(Column(f"coco_click{share}", f"click ±{share}", "COCO") for share in SHARES),
)
ASKED_WITH = (
    "mask_pick", "refinement", "clicks", "first_click", "truth_raster", "seed", "box_source", "clip_boxes", "precision",
)  # fmt: skip
SCORED_WITH = ("crowd", "smallest_area")
ASK = "protocols.robustness_prompts:ask"
CARDS = "protocols.promptable"
TRAINED_WITH = "table4"
MODELS = "model"
MIXED = True
EXACT = True
IMAGES_A_SHARD = 16
LIMITED = "the first {:,} images"


def by_object(run: CellRun, data: DataSet) -> pd.DataFrame:
    """Return the value of every column, a row an object that counts: 0..1."""
    records = counted(run.records, data.chosen)
    keys = ["image_id", "annotation_id"]
    values = records.pivot(index=keys, columns="prompt", values="iou").add_prefix("coco_")
    boxes = records[records["prompt"] == "box"].set_index(keys)
    return values.assign(
        coco_boundary=boxes["boundary_iou"], coco_regret=(boxes["best_iou"] - boxes["iou"]).astype(np.float64)
    )


def score(run: CellRun, data: DataSet) -> Scores:
    """Return the mean of each column over objects, in 0..1, with its interval over images."""
    basis = by_object(run, data)
    if not len(basis):
        return Scores({}, basis[[]])
    images = basis.index.get_level_values("image_id").to_numpy()
    return Scores({str(key): mean_interval(basis[key].to_numpy(), images) for key in basis}, basis)


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each column, first - second, over the same objects and the same misses."""
    one, other = first.basis, second.basis.loc[first.basis.index]
    images = one.index.get_level_values("image_id").to_numpy()
    return {str(key): paired_mean_interval(one[key].to_numpy(), other[key].to_numpy(), images) for key in one}


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the same images."""
    return over_images(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say what was asked and what the columns are."""
    axes, name = measured.data.chosen, measured.data.label
    for of_seed in list(measured.runs.values())[:1]:
        objects = counted(of_seed[0].records, axes)["annotation_id"].nunique()
        yield f"{name}: {objects:,} objects in {len(of_seed[0].image_ids):,} images"
        yield from (f"{name}: left out {why}" for why in of_seed[0].skipped.values())
    yield (
        f"boundary: IoU of the bands along the outlines, inside the masks, {100 * RATIO:g} % of the image's diagonal "
        "wide (Cheng et al. 2021), of the answers to boxes"
    )
    yield (
        "box ±s: each side off by up to s % of the box's width or height; click ±s: off by so much in x and y, "
        "so that it may leave the object; drawn once for each object, the same for every model"
    )
    yield "regret: IoU of the best of the model's masks by the truth, less that of the one picked, of boxes"
    yield from data_notes(measured.data)
