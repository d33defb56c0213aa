"""Table 4: single-object segmentation from a box, one click or three clicks, mIoU on COCO and LVIS (section 4.4).

How records are made is protocols/table4_prompts.py; this is what they mean.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.data import Instances
from bench.metrics.interval import Interval, mean_interval, paired_mean_interval
from protocols.axes import Axes
from protocols.results import Column
from protocols.scores import CellRun, Scores

NAME = "table4"
VERSION = 2
"""Changes when scoring or prompting changes."""
TITLE = "Zero-shot single-object segmentation, mIoU (Table 4)"
DATA_SETS = ("coco", "lvis")
PROMPTS = {"box": "box", "1click": "1 click", "3click": "3 clicks"}
COLUMNS = tuple(
    Column(f"{data_set}_{key}", label, data_set.upper()) for data_set in DATA_SETS for key, label in PROMPTS.items()
)
_ALWAYS = ("mask_pick", "refinement", "crowd", "smallest_area", "averaging", "empty", "truth_raster")
_FIRST_CLICK = (*_ALWAYS, "clicks", "first_click", "click_frame")
MATTERS = {
    "box": (*_ALWAYS, "box_source", "clip_boxes"),
    "1click": _FIRST_CLICK,
    "3click": (*_FIRST_CLICK, "tie", "click_again", "smallest_error"),
}
"""Axes that decide what a column measures: only where all are the paper's is it compared with the paper's."""
RECORD_TYPES = {
    "image_id": "int64",
    "annotation_id": "int64",
    "category_id": "int64",
    "area": "float64",
    "iscrowd": "bool",
    "prompt": "str",
    "repeat": "int64",
    "pick": "int64",
    "predicted_iou": "float64",
    "iou": "float64",
    "refused": "str",
}
"""One record a prompt; `refused` says why the model cannot take it, empty if it can."""


def counted(records: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """Return the records that count under the axes: crowds and small annotations, and none of 0 / 0."""
    kept = (records["area"] >= axes.smallest_area) & records["iou"].notna()
    return records[kept if axes.crowd == "keep" else kept & ~records["iscrowd"]]


def score(run: CellRun, instances: Instances, axes: Axes) -> Scores:
    """Return mIoU in 0..1 with its interval for each prompt: the mean over annotations (and repeats).

    A kind of prompt that the model could not take for every object has no mean: one over the others would be biased.
    With `averaging="category"` each category weighs the same; the interval then resamples images with the
    categories' weights held.
    """
    unsupported = run.records[run.records["refused"] != ""]
    refused = dict(unsupported.groupby("prompt", sort=False)["refused"].first())
    records = counted(run.records[~run.records["prompt"].isin(refused)], axes)
    records = records.assign(value=_weighted(records, axes))
    intervals = {
        str(prompt): mean_interval(part["value"].to_numpy(), part["image_id"].to_numpy())
        for prompt, part in records.groupby("prompt", sort=False)
    }
    return Scores(intervals, records, {str(prompt): why for prompt, why in refused.items()})


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of mIoU, first - second, over the same prompts."""
    keys = ["prompt", "image_id", "annotation_id", "repeat"]
    both = first.basis.merge(second.basis[[*keys, "value"]], on=keys, suffixes=("", "_second"), validate="1:1")
    return {
        str(prompt): paired_mean_interval(
            part["value"].to_numpy(), part["value_second"].to_numpy(), part["image_id"].to_numpy()
        )
        for prompt, part in both.groupby("prompt", sort=False)
    }


def _weighted(records: pd.DataFrame, axes: Axes) -> np.ndarray:
    """Return values whose plain mean is the mean over masks, or over categories."""
    values = records["iou"].to_numpy(dtype=np.float64)
    if axes.averaging == "mask":
        return values
    of_prompt = records.groupby("prompt")
    of_category = records.groupby(["prompt", "category_id"])["iou"].transform("size")
    share = of_prompt["iou"].transform("size") / (of_category * of_prompt["category_id"].transform("nunique"))
    return values * share.to_numpy()  # type: ignore[no-any-return]


def footnotes(run: CellRun, instances: Instances, axes: Axes) -> list[str]:
    """Say how many annotations were asked, and what the mean would be with the crowds or without them."""
    asked = run.records["annotation_id"].nunique()
    crowds = run.records[run.records["iscrowd"]]["annotation_id"].nunique()
    line = f"{instances.name.upper()}: {asked - crowds:,} annotations in {len(run.image_ids):,} images"
    if crowds:
        line += f", and {crowds:,} crowds ({'left out of' if axes.crowd == 'skip' else 'counted in'} mIoU)"
    return [line]
