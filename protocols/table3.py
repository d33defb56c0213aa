"""Table 3: ADE20K mIoU of Mask2Former (section 4.2).

How records are made is protocols/semantic.py; this is what they mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.metrics.interval import Interval
from bench.metrics.miou import class_iou, mean_iou_draws, mean_iou_interval, paired_mean_iou_interval
from protocols.results import Column
from protocols.scores import CellRun, Scores
from protocols.seeds import Sampled

NAME = "table3"
VERSION = 1
"""Changes when scoring or the models' input changes."""
TITLE = "Semantic segmentation, ADE20K mIoU (Table 3)"
COLUMNS = (Column("miou", "mIoU", "ADE20K"),)
RECORD_TYPES = {"image_id": "int64", "file": "str", "class": "int64", "intersection": "int64", "union": "int64"}
"""One record for each image and class that is in its label map or in the answer, areas in px."""
COMPARED = (("SAMI-Ti", "MAE-Ti"), ("SAMI-S", "MAE-S"), ("SAMI-B", "MAE-B"))
"""Pairs of rows that section 4.2 compares, (first, second)."""


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


def score(run: CellRun, classes: int) -> Scores:
    """Return mIoU in 0..1 with its interval; n is the number of images."""
    areas = areas_of(run, classes)
    return Scores({"miou": mean_iou_interval(areas.intersections, areas.unions)}, areas)


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
