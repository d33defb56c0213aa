"""Table 4: single-object segmentation from a box, one click or three clicks, mIoU on COCO and LVIS (section 4.4).

How records are made is protocols/table4_prompts.py; this is what they mean.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from bench.data.catalog import InstanceSet
from bench.data.dead_leaves import world_root as micro_root
from bench.metrics.interval import Interval, mean_draws, mean_interval, paired_mean_interval
from bench.metrics.random_effects import RandomEffectsMean, random_effects_mean, ratio_values
from protocols.axes import PAPER, Axes, in_effect
from protocols.comparisons import METHOD, Sampled, over_seeds, seed_notes
from protocols.data_set import DataSet
from protocols.instance_sets import TAKES, WORLDS, data_notes
from protocols.instance_sets import open_instance_set as open_data
from protocols.measured import Measured
from protocols.results import Column, Comparison
from protocols.saved_predictions import Recordings, read_recordings
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.watched import Number, Watched

__all__ = ["TAKES", "WORLDS", "micro_root", "open_data"]

# What these settings mean is said in protocols.tables.Table.
NAME = "table4"
VERSION = 2
TITLE = "Zero-shot single-object segmentation, mIoU (Table 4)"
METRIC = "mean_iou"
DATA_SETS = ("coco", "lvis")
PROMPTS = {"box": "box", "1click": "1 click", "3click": "3 clicks"}
COLUMNS = tuple(
    Column(f"{data_set}_{key}", label, data_set.upper()) for data_set in DATA_SETS for key, label in PROMPTS.items()
)
_ALWAYS = ("mask_pick", "refinement", "crowd", "smallest_area", "averaging", "empty", "truth_raster")
_FIRST_CLICK = (*_ALWAYS, "clicks", "first_click", "click_frame")
_OF_PROMPT = {
    "box": (*_ALWAYS, "box_source", "clip_boxes"),
    "1click": _FIRST_CLICK,
    "3click": (*_FIRST_CLICK, "tie", "click_again", "smallest_error", "mask_prompt"),
}
MATTERS = {f"coco_{prompt}": axes for prompt, axes in _OF_PROMPT.items()} | {
    f"lvis_{prompt}": (*axes, "lvis_images") for prompt, axes in _OF_PROMPT.items()
}
ASKED_WITH = (
    "mask_pick", "refinement", "clicks", "first_click", "tie", "click_again", "click_frame", "mask_prompt",
    "smallest_error", "truth_raster", "empty", "seed", "repeats", "box_source", "clip_boxes", "precision", "columns",
)  # fmt: skip
SCORED_WITH = ("crowd", "smallest_area", "averaging")
ASK = "protocols.table4_prompts:ask"
CARDS = "protocols.promptable"
MODELS = "model"
MIXED = True
NEVER_RELEASED = {"SAM-MAE-Ti": "weights never released by the authors"}
CONTROLS = ("sam-scratch-ti-micro",)
COMPARED = (
    ("SAM", "EfficientSAM-S"),
    ("EfficientSAM-S", "EfficientSAM-Ti"),
    ("EfficientSAM-Ti", "MobileSAM"),
    ("EfficientSAM-S", "MobileSAM"),
    ("EfficientSAM-Ti", "SAM-MAE-Ti"),
    ("EfficientSAM-Ti", "sam-scratch-ti-micro"),
    ("SAM-MAE-Ti", "sam-scratch-ti-micro"),
)
EXACT = True
IMAGES_A_SHARD = 16
WATCHED = Watched(
    what="prompts",
    key=("image_id", "annotation_id", "prompt", "repeat"),
    values=(Number("iou", 0.002, "IoU"),),
    column="prompt",
)
LIMITED = "the first {:,} images of each data set"


def count_prompts(published: InstanceSet, axes: Axes) -> int:
    """Return how many prompts a model is asked about a whole published set: of every annotation a box, clicks."""
    clicks = [count for count in (1, 3) if axes.asks(f"{count}click")]
    answers = axes.repeats * len(clicks) if axes.clicks == "random" else max(clicks, default=0)
    return published.n_annotations * (1 + axes.refinement) * (axes.asks("box") + answers)


def counted(records: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """Return the records that count under the axes: crowds and small annotations, and none of 0 / 0."""
    kept = (records["area"] >= axes.smallest_area) & records["iou"].notna()
    return records[kept if axes.crowd == "keep" else kept & ~records["iscrowd"]]


def score(run: CellRun, data: DataSet) -> Scores:
    """Return mIoU in 0..1 with its interval for each prompt: the mean over annotations (and repeats).

    A kind of prompt that the model could not take for every object has no mean: one over the others would be biased.
    With `averaging="category"` each category weighs the same; the interval then resamples images with the
    categories' weights held.
    """
    axes = data.chosen
    unsupported = run.records[run.records["refused"] != ""]
    refused = dict(unsupported.groupby("prompt", sort=False)["refused"].first())
    records = counted(run.records[~run.records["prompt"].isin(refused)], axes)
    records = records.assign(value=_weighted(records, axes), column=f"{data.name}_" + records["prompt"])
    intervals = {
        str(column): mean_interval(part["value"].to_numpy(), part["image_id"].to_numpy())
        for column, part in records.groupby("column", sort=False)
    }
    return Scores(intervals, records, {f"{data.name}_{prompt}": why for prompt, why in refused.items()})


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of mIoU, first - second, over the same prompts."""
    keys = ["column", "image_id", "annotation_id", "repeat"]
    both = first.basis.merge(second.basis[[*keys, "value"]], on=keys, suffixes=("", "_second"), validate="1:1")
    return {
        str(column): paired_mean_interval(
            part["value"].to_numpy(), part["value_second"].to_numpy(), part["image_id"].to_numpy()
        )
        for column, part in both.groupby("column", sort=False)
    }


def resampled(scores: Scores, image_ids: Sequence[int]) -> dict[str, Sampled]:
    """Return each mIoU with its bootstrap samples over these images; see `protocols.tables.Table`."""
    among = np.array(sorted(image_ids))
    return {
        str(column): Sampled(
            float(part["value"].mean()),
            mean_draws(part["value"].to_numpy(), part["image_id"].to_numpy(), among),
            len(among),
            n=len(part),
        )
        for column, part in scores.basis.groupby("column", sort=False)
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


def saved(data: DataSet, settings: Settings) -> Recordings:
    """Return what models answered when they were trained, about the images that are asked, as the paper asks."""
    if in_effect(data.chosen, ASKED_WITH) != in_effect(PAPER, ASKED_WITH):
        return {}
    return read_recordings(NAME, VERSION, data_sha256=data.sha256, image_ids=data.asked.ids, folder=settings.records)


def over_trainings(first: Sequence[Scores], second: Sequence[Scores], column: str) -> RandomEffectsMean:
    """Return the difference of mIoU, first - second, over trainings of both and the images that were asked."""
    return random_effects_mean(_means(first, column) - _means(second, column))


def _means(trainings: Sequence[Scores], column: str) -> np.ndarray:
    """Return float [S, N], an image's share of each training's mIoU, so that rows average to it."""
    parts = [one.basis[one.basis["column"] == column] for one in trainings]
    _, image = np.unique(parts[0]["image_id"], return_inverse=True)
    sums = [np.bincount(image, weights=part["value"]) for part in parts]
    return ratio_values(np.stack(sums), np.bincount(image))


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the trainings that both rows have, if several, else over the same prompts."""
    return over_seeds(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say how many annotations were asked, and what the mean would be with the crowds or without them."""
    axes, name = measured.data.chosen, measured.data.label
    for run in [of_seed[0] for of_seed in measured.runs.values()][:1]:
        asked = run.records["annotation_id"].nunique()
        crowds = run.records[run.records["iscrowd"]]["annotation_id"].nunique()
        line = f"{name}: {asked - crowds:,} annotations in {len(run.image_ids):,} images"
        if crowds:
            line += f", and {crowds:,} crowds ({'left out of' if axes.crowd == 'skip' else 'counted in'} mIoU)"
        yield line
        yield from (f"{name}: left out {why}" for why in run.skipped.values())
    yield from data_notes(measured.data)
    if any(subject.card.scale == "micro" for subject in measured.plan.subjects):
        yield from seed_notes(measured.columns, measured.scores, METHOD)
