"""Questions of table `robustness`: every object by its box and by one click, as they are and a little off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.data import Annotation, ImageInfo, tight_box_xyxy
from bench.metrics.boundary import boundary_iou
from models.segmenter import FOREGROUND, Prompts
from protocols.axes import Axes
from protocols.data_set import DataSet
from protocols.predictors import ModelPredictor, Predictor
from protocols.prompts.jitter import SHARES, jittered_boxes, jittered_clicks
from protocols.prompts.random_clicks import random_clicks
from protocols.prompts.sequences import POLICIES
from protocols.prompts.truths import Truths, boxes_of, ious
from protocols.table4_prompts import ask_by, shown

RECORD_TYPES = {
    "image_id": "int64",
    "annotation_id": "int64",
    "category_id": "int64",
    "area": "float64",
    "iscrowd": "bool",
    "prompt": "str",
    "pick": "int64",
    "predicted_iou": "float64",
    "iou": "float64",
    "boundary_iou": "float64",
    "best_iou": "float64",
}
"""One record a prompt: box, box5, box10, box20, click, click5, ... `boundary_iou` and `best_iou`, of the best candidate
by the truth, are those of the box alone, and NaN elsewhere."""


class _Asked(NamedTuple):
    """A kind of prompt."""

    name: str
    prompts: Prompts


def ask(model: Any, data: DataSet, images: Sequence[ImageInfo], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return a record for each prompt about some images, see `RECORD_TYPES`.

    Args:
        model: a segmenter of the zoo, or a predictor.
        data: see `protocols.instance_sets`.
        images: some of its images.
        advance: told of images as they are done.

    Raises:
        UnsupportedPrompt: if the model cannot take one of the prompts.
    """
    axes = replace(data.chosen, empty="skip")  # what has no pixel has no box to be off
    return ask_by(ask_image, model, data, axes, images, RECORD_TYPES, advance)


def ask_image(
    predictor: Predictor, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> list[dict[str, object]]:
    """Ask for every object of an image by box and click, exact and off; one record a prompt.

    Args:
        predictor: the model or frame.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotations: of the image.
        axes: the choices.

    Raises:
        UnsupportedPrompt: if the model cannot take one of the prompts.
    """
    records: list[dict[str, object]] = []
    for truths in shown(predictor, image, info, annotations, axes):
        for name, prompts in _prompts(truths, axes):
            answer = predictor.predict(prompts, truths.rasters)
            whole = ious(answer.masks, truths, axes)
            nothing = np.full(len(whole), np.nan)
            boundary = boundary_iou(answer.masks, truths.rasters) if name == "box" else nothing
            best = np.maximum(whole, _best(predictor, prompts, truths, axes)) if name == "box" else nothing
            records += [
                {
                    "image_id": annotation.image_id,
                    "annotation_id": annotation.id,
                    "category_id": annotation.category_id,
                    "area": float(annotation.area),
                    "iscrowd": bool(annotation.iscrowd),
                    "prompt": name,
                    "pick": int(answer.pick[row]),
                    "predicted_iou": float(answer.predicted_iou[row]),
                    "iou": float(whole[row]),
                    "boundary_iou": float(boundary[row]),
                    "best_iou": float(best[row]),
                }
                for row, annotation in enumerate(truths.annotations)
            ]
    return records


def _prompts(truths: Truths, axes: Axes) -> Iterator[_Asked]:
    """Yield boxes and clicks, exact and off."""
    size = (truths.masks.shape[1], truths.masks.shape[2])
    ids = np.array([annotation.id for annotation in truths.annotations])
    exact = boxes_of(truths, axes)
    yield _Asked("box", exact)
    boxes = exact.points.reshape(-1, 4).astype(np.float64)  # [P, 2, 2] -> [P, 4] xyxy
    for share in SHARES:
        yield _Asked(f"box{share}", Prompts.from_boxes(jittered_boxes(boxes, share / 100, ids, axes.seed, size)))
    points = _clicks(truths, axes)
    tight = np.stack([tight_box_xyxy(mask) for mask in truths.masks])
    for name, share in (("click", 0), *((f"click{share}", share) for share in SHARES)):
        moved = jittered_clicks(points, tight, share / 100, ids, axes.seed, size) if share else points
        yield _Asked(name, Prompts(moved[:, None], np.full((len(moved), 1), FOREGROUND)))


def _clicks(truths: Truths, axes: Axes) -> np.ndarray:
    """Return the first click [P, 2] (x, y) on each object, as the axes place it."""
    if axes.clicks != "random":
        return POLICIES[axes.clicks](truths, axes, 0, None, None).points
    pairs = zip(truths.annotations, truths.masks, strict=True)
    return np.stack(
        [random_clicks(mask, 1, seed=axes.seed, repeat=0, annotation_id=annotation.id)[0] for annotation, mask in pairs]
    )


def _best(predictor: Predictor, prompts: Prompts, truths: Truths, axes: Axes) -> np.ndarray:
    """Return the IoU float64 [P] of the best candidate by the truth; 0 for what answers with one mask, the picked one.

    With refinement the best of the first pass is refined, which can end below the picked one.
    """
    if not isinstance(predictor, ModelPredictor) or axes.mask_pick == "single":
        return np.zeros(len(prompts))
    oracle = ModelPredictor(predictor.model, replace(axes, mask_pick="oracle"))
    oracle.embedding = predictor.embedding
    return ious(oracle.predict(prompts, truths.rasters).masks, truths, axes)
