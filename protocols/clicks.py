"""Beyond three clicks: how many an object needs, and how IoU grows with them; our table, the paper has none of it.

How records are made is protocols/clicks_prompts.py; this is what they mean. Counted as in interactive segmentation:
Sofiiuk et al. 2021 (RITM), and SegNext's evaluation of SAM (uncbiag/SegNext b0f9ef3, notebooks/eval_sam.ipynb).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.data.catalog import InstanceSet
from bench.data.dead_leaves import world_root as micro_root
from bench.metrics.interval import Interval, mean_draws, mean_interval, paired_mean_interval
from protocols.axes import Axes
from protocols.comparisons import Sampled, over_images
from protocols.data_set import DataSet
from protocols.instance_sets import TAKES, WORLDS, data_notes, open_instance_set
from protocols.measured import Measured
from protocols.plan import Plan
from protocols.results import Column, Comparison
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.table4 import NEVER_RELEASED, counted

__all__ = ["NEVER_RELEASED", "TAKES", "WORLDS", "micro_root"]

# What these settings mean is said in protocols.tables.Table.
NAME = "clicks"
VERSION = 1
TITLE = "Interactive segmentation: clicks needed, and IoU after clicks"
DATA_SETS = ("coco",)
GOALS = {"coco_noc80": 0.80, "coco_noc85": 0.85, "coco_noc90": 0.90}
AFTER = (1, 3, 5, 10, 20)
"""Clicks after which the table shows IoU; `bench run click_curves` draws all."""
COLUMNS = (
    *(Column(key, f"NoC@{100 * goal:.0f}", "COCO", percent=False, less=True) for key, goal in GOALS.items()),
    Column("coco_auc", "AUC", "COCO"),
    *(Column(f"coco_iou{click}", f"IoU@{click}", "COCO") for click in AFTER),
)
ASKED_WITH = (
    "mask_pick", "refinement", "clicks", "first_click", "tie", "click_again", "click_frame", "mask_prompt",
    "background_clicks", "most_clicks", "smallest_error", "truth_raster", "seed", "repeats", "precision",
)  # fmt: skip
SCORED_WITH = ("crowd", "smallest_area")
USUAL = {"clicks": "ritm", "tie": "background", "click_again": False}
"""RITM's clicks; a mask prompt comes with them where a preset or an axis says so, since EfficientSAM takes none."""
ASK = "protocols.clicks_prompts:ask"
CARDS = "protocols.promptable"
TRAINED_WITH = "table4"
MODELS = "model"
MIXED = True
COMPARED = (
    ("SAM", "EfficientSAM-S"),
    ("EfficientSAM-S", "EfficientSAM-Ti"),
    ("EfficientSAM-Ti", "MobileSAM"),
    ("EfficientSAM-S", "MobileSAM"),
)
EXACT = True
IMAGES_A_SHARD = 4
LIMITED = "the first {:,} images"
MICRO_IMAGES = 16
"""Images of dead leaves that are asked about without --limit: a minute on one core."""


def open_data(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open COCO; of the dead leaves the first images alone, unless a limit says how many.

    Raises:
        MissingData: if it is not there.
    """
    few = settings.limit is None and settings.data is None and plan.data_scale == "micro"
    data = open_instance_set(name, plan, replace(settings, limit=MICRO_IMAGES) if few else settings)
    return replace(data, words=f"the first {MICRO_IMAGES} images, --limit N asks about N") if few else data


def has_column(key: str, axes: Axes) -> bool:
    """Return whether so many clicks are made."""
    return not key.startswith("coco_iou") or int(key.removeprefix("coco_iou")) <= axes.most_clicks


def count_prompts(published: InstanceSet, axes: Axes) -> int:
    """Return how many prompts a model is asked about a whole published set: of every annotation all clicks."""
    return published.n_annotations * (1 + axes.refinement) * (axes.most_clicks)


def clicks_needed(ious: np.ndarray, goal: float) -> np.ndarray:
    """Return after how many clicks an IoU is reached first, int64 [N]; where it never is, all of them.

    Args:
        ious: float [N, K], after 1, 2, ..., K clicks.
        goal: 0..1.

    >>> clicks_needed(np.array([[0.5, 0.9, 0.7], [0.1, 0.2, 0.3], [0.8, 0.8, 0.8]]), 0.8).tolist()
    [2, 3, 1]
    """
    reached = ious >= goal
    return np.where(reached.any(1), reached.argmax(1) + 1, ious.shape[1])


def area_under(ious: np.ndarray) -> np.ndarray:
    """Return the area under IoU [N, K] against clicks by trapezoids, float64 [N], as a share of its largest, 0..1.

    >>> area_under(np.array([[0.0, 1.0, 1.0], [0.5, 0.5, 0.5]])).tolist()
    [0.75, 0.5]
    """
    return ious[:, 0] if ious.shape[1] == 1 else ((ious[:, 1:] + ious[:, :-1]) / 2).mean(1)  # type: ignore[no-any-return]


def by_object(records: pd.DataFrame) -> pd.DataFrame:
    """Return IoU after each click, a row an object and repeat and a column a click."""
    return records.pivot(index=["image_id", "annotation_id", "repeat"], columns="click", values="iou")


def score(run: CellRun, data: DataSet) -> Scores:
    """Return clicks needed, area under the curve and IoU after every click, each a mean over objects and repeats."""
    objects = by_object(counted(run.records, data.chosen))
    ious = objects.to_numpy()
    if not len(ious):
        return Scores({}, pd.DataFrame(index=objects.index))
    values = {key: clicks_needed(ious, goal) for key, goal in GOALS.items()}
    values["coco_auc"] = area_under(ious)
    values |= {f"coco_iou{click}": ious[:, place] for place, click in enumerate(objects.columns)}
    basis = pd.DataFrame(values, index=objects.index, dtype=np.float64)
    images = basis.index.get_level_values("image_id").to_numpy()
    return Scores({str(key): mean_interval(basis[key].to_numpy(), images) for key in basis}, basis)


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each column, first - second, over the same objects."""
    one, other = first.basis, second.basis.loc[first.basis.index]
    images = one.index.get_level_values("image_id").to_numpy()
    return {str(key): paired_mean_interval(one[key].to_numpy(), other[key].to_numpy(), images) for key in one}


def resampled(scores: Scores, image_ids: Sequence[int]) -> dict[str, Sampled]:
    """Return each column with its bootstrap samples over these images; see `protocols.tables.Table`."""
    images, among = scores.basis.index.get_level_values("image_id").to_numpy(), np.array(sorted(image_ids))
    return {
        str(key): Sampled(
            float(scores.basis[key].mean()),
            mean_draws(scores.basis[key].to_numpy(), images, among),
            len(among),
            n=len(images),
        )
        for key in scores.basis
    }


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the same images."""
    return over_images(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say what the columns are, and what was asked."""
    most, counts = measured.data.chosen.most_clicks, _counted(measured)
    yield (
        f"NoC@85: clicks until the IoU is 0.85, fewer are better; an object that does not reach it within {most} "
        f"counts as {most}"
    )
    failed = [f"{row} {100 * _failed(records):.0f} %" for row, records in counts.items() if len(records)]
    if failed:
        yield f"objects that never reach 0.90: {', '.join(failed)}"
    yield f"AUC: area under IoU against clicks 1 to {most}, as a share of the largest"
    yield from notes_on_answers(measured)


def notes_on_answers(measured: Measured) -> Iterator[str]:
    """Say what was asked, and which models could not follow the rule."""
    name, counts = measured.data.label, _counted(measured)
    for run, records in list(zip(measured.runs.values(), counts.values(), strict=True))[:1]:
        objects, images = records["annotation_id"].nunique(), len(run[0].image_ids)
        yield f"{name}: {objects:,} objects in {images:,} images, {measured.data.chosen.most_clicks} clicks each"
        yield from (f"{name}: left out {why}" for why in run[0].skipped.values())
    if any(subject.card.scale == "micro" for subject in measured.plan.subjects):
        yield "micro models of this project were trained on one and three clicks, all on the object, and on no others"
    for row, records in counts.items():
        yield from _departures(row, records)
    yield from data_notes(measured.data)


def _counted(measured: Measured) -> dict[str, pd.DataFrame]:
    """Return the records that count, by row, or by model where the data are the user's own and rows are models."""
    names = {row.label: row.model or row.label for row in measured.plan.rows} if measured.data.title else {}
    return {
        names.get(row, row): counted(of_seed[0].records, measured.data.chosen) for row, of_seed in measured.runs.items()
    }


def _failed(records: pd.DataFrame) -> float:
    """Return the share of objects, 0..1, that never reach the last goal."""
    return float((by_object(records).max(axis=1) < GOALS["coco_noc90"]).mean())


def _departures(row: str, records: pd.DataFrame) -> Iterator[str]:
    """Say where a model could not be asked as the rule has it."""
    if records["instead"].any():
        share = 100 * float(records["instead"].sum() / (~records["stands"]).sum())
        yield (
            f"{row} takes no background clicks, and gets clicks on the object alone: {share:.0f} % of its clicks fall "
            "on the deepest missed pixel, or where none is missed on the object's middle, instead of the background"
        )
    if records["stands"].any():
        most = int(records.loc[~records["stands"], "click"].max())
        yield f"{row} takes at most {most} clicks: its answer to them stands for all further ones"
