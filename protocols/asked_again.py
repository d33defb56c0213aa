"""One prompt of Table 4 asked again, for a picture: records keep its IoU and no mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bench.data import Annotation, ImageInfo
from models.segmenter import Prompts
from protocols.axes import Axes
from protocols.predictors import Prediction, Predictor, predictor_of
from protocols.prompts.truths import ious, truths_of
from protocols.table4_prompts import Refusal, answers_of


class Asked(NamedTuple):
    """A prompt and the answer to it."""

    mask: np.ndarray
    """bool [H, W]."""
    iou: float
    """With the truth, 0..1."""
    prompts: Prompts
    """Of this one."""


class _Listening:
    """A predictor that remembers the last prompts."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.name, self.sees_truth = predictor, predictor.name, predictor.sees_truth
        self.last: Prompts | None = None

    def set_image(self, image: np.ndarray) -> None:
        self.predictor.set_image(image)

    def predict(self, prompts: Prompts, truths: np.ndarray | None) -> Prediction:
        self.last = prompts
        return self.predictor.predict(prompts, truths)


def ask_again(
    model: Any,
    axes: Axes,
    image: np.ndarray,
    info: ImageInfo,
    annotation: Annotation,
    *,
    data_set: str,
    prompt: str,
    repeat: int,
) -> Asked | None:
    """Return what a model answers to one prompt; None if it cannot take it.

    Args:
        model: a segmenter of the zoo, or a predictor.
        axes: the choices of its run.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotation: the object.
        data_set: coco or lvis.
        prompt: box, 1click or 3click.
        repeat: which draw of random clicks, from 0 on.
    """
    axes = replace(axes, columns=(f"{data_set}_{prompt}",))
    predictor = _Listening(predictor_of(model, axes))
    truths = truths_of(info, [annotation], axes)
    if not truths.annotations:
        return None
    predictor.set_image(image)
    for kind, draw, answer in answers_of(predictor, truths, axes):
        if (kind, draw) == (prompt, repeat) and not isinstance(answer, Refusal):
            assert predictor.last is not None
            return Asked(answer.masks[0], float(ious(answer.masks, truths, axes)[0]), predictor.last)
    return None
