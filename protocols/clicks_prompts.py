"""Questions of table `clicks`: every object of an image by one click after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.data import Annotation, ImageInfo
from models.errors import UnsupportedPrompt
from models.segmenter import FOREGROUND, Prompts
from protocols.axes import Axes
from protocols.data_set import DataSet
from protocols.predictors import Prediction, Predictor
from protocols.prompts.positive_clicks import on_the_object
from protocols.prompts.random_clicks import random_clicks
from protocols.prompts.sequences import POLICIES, Clicks, with_click
from protocols.prompts.truths import Truths, ious
from protocols.table4_prompts import ask_by, shown

RECORD_TYPES = {
    "image_id": "int64",
    "annotation_id": "int64",
    "category_id": "int64",
    "area": "float64",
    "iscrowd": "bool",
    "repeat": "int64",
    "click": "int64",
    "label": "int64",
    "instead": "bool",
    "stands": "bool",
    "pick": "int64",
    "predicted_iou": "float64",
    "iou": "float64",
}
"""One record a click, counted from 1. `instead`: the rule asked for a background click, which the model does not take.
`stands`: the model takes no more clicks, so the answer is that to the last one it took."""


class Step(NamedTuple):
    """What came of one click a prompt."""

    labels: np.ndarray
    """int64 [P], of the clicks."""
    instead: np.ndarray
    """bool [P], whether each was to be another."""
    answer: Prediction
    stands: bool = False


def ask(model: Any, data: DataSet, images: Sequence[ImageInfo], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return a record for each click on each object of some images, see `RECORD_TYPES`.

    Args:
        model: a segmenter of the zoo, or a predictor.
        data: see `protocols.instance_sets`.
        images: some of its images.
        advance: told of images as they are done.

    Raises:
        UnsupportedPrompt: if the model takes no clicks, or not what comes with them.
    """
    axes = replace(data.chosen, empty="skip")  # how many clicks nothing needs, nobody can say
    return ask_by(ask_image, model, data, axes, images, RECORD_TYPES, advance)


def ask_image(
    predictor: Predictor, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> list[dict[str, object]]:
    """Click `Axes.most_clicks` times on every object of an image; one record a click.

    Args:
        predictor: the model or frame.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotations: of the image.
        axes: the choices.

    Raises:
        UnsupportedPrompt: if the model takes no clicks, or not what comes with them.
    """
    records: list[dict[str, object]] = []
    for truths in shown(predictor, image, info, annotations, axes):
        for repeat in range(axes.repeats if axes.clicks == "random" else 1):
            values = np.zeros(0)
            for click, step in enumerate(steps(predictor, truths, axes, repeat), start=1):
                values = values if step.stands else ious(step.answer.masks, truths, axes)
                records += _records(truths, repeat, click, step, values)
    return records


def steps(predictor: Predictor, truths: Truths, axes: Axes, repeat: int = 0) -> Iterator[Step]:
    """Yield what comes of one click after another on some objects.

    A model that takes no background clicks gets clicks on the object alone (`on_the_object`), from its first refusal
    on: before, no other click was asked for. One that takes no more clicks is left with its last answer.

    Raises:
        UnsupportedPrompt: if the model takes no clicks, or not what comes with them.
    """
    place = _drawn(truths, axes, repeat) if axes.clicks == "random" else POLICIES[axes.clicks]
    prompts: Prompts | None = None
    answer: Prediction | None = None
    positive_only = axes.background_clicks == "never"
    for position in range(axes.most_clicks):
        rule = place(truths, axes, position, prompts, answer)
        clicks = on_the_object(rule, truths, prompts, answer) if positive_only else rule
        given = with_click(prompts, clicks, answer)
        new = _predict(predictor, given, truths)
        if isinstance(new, UnsupportedPrompt) and not positive_only and (rule.labels != FOREGROUND).any():
            positive_only = True
            clicks = on_the_object(rule, truths, prompts, answer)
            given = with_click(prompts, clicks, answer)
            new = _predict(predictor, given, truths)
        if isinstance(new, UnsupportedPrompt):
            if answer is None or given.mask_logits is not None:
                raise new
            blank = np.zeros(len(rule.labels), np.int64)
            left = axes.most_clicks - position
            yield from [Step(blank, blank > 0, answer, stands=True)] * left
            return
        prompts, answer = given, new
        yield Step(clicks.labels, clicks.labels != rule.labels, answer)


def _predict(predictor: Predictor, prompts: Prompts, truths: Truths) -> Prediction | UnsupportedPrompt:
    try:
        return predictor.predict(prompts, truths.rasters)
    except UnsupportedPrompt as refused:
        return refused


def _drawn(truths: Truths, axes: Axes, repeat: int) -> Callable[..., Clicks]:
    """Return a policy that places random clicks on the object, as Table 4 draws them."""
    points = np.stack(
        [
            random_clicks(mask, axes.most_clicks, seed=axes.seed, repeat=repeat, annotation_id=annotation.id)
            for annotation, mask in zip(truths.annotations, truths.masks, strict=True)
        ]
    )
    labels = np.full(len(points), FOREGROUND)
    return lambda truths, axes, position, prompts, answer: Clicks(points[:, position], labels)


def _records(truths: Truths, repeat: int, click: int, step: Step, values: np.ndarray) -> list[dict[str, object]]:
    return [
        {
            "image_id": annotation.image_id,
            "annotation_id": annotation.id,
            "category_id": annotation.category_id,
            "area": float(annotation.area),
            "iscrowd": bool(annotation.iscrowd),
            "repeat": repeat,
            "click": click,
            "label": int(step.labels[row]),
            "instead": bool(step.instead[row]),
            "stands": step.stands,
            "pick": int(step.answer.pick[row]),
            "predicted_iou": float(step.answer.predicted_iou[row]),
            "iou": float(values[row]),
        }
        for row, annotation in enumerate(truths.annotations)
    ]
