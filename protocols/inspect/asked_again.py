"""Prompts of Table 4 made or asked again, for pictures: records keep their IoU, and neither points nor masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bench.data import Annotation, ImageInfo
from models.errors import BenchError, UnsupportedPrompt
from models.segmenter import Prompts
from protocols import promptable
from protocols.axes import Axes
from protocols.inspect.sides import Side
from protocols.predictors import Prediction, Predictor, predictor_of
from protocols.prompts.truths import ious, truths_of
from protocols.table4_prompts import Refusal, answers_of, parts

SAME = 0.005
"""Largest difference between a recorded IoU and that of the same prompt asked again at which its mask is shown: asked
alone, a prompt stands in another batch, which moves floats and so now and then a pixel."""
POINTS = {"box": 2, "1click": 1, "3click": 3}
"""Points of each kind of prompt."""


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


def model_of(side: Side, device: str, say: Callable[[str], None]) -> Any:
    """Return the model of a run of Table 4; None, with a word, if it is not here or not that of the run."""
    if side.table != "table4":
        say(f"pictures without masks: records of {side.table} hold none")
        return None
    try:
        model = promptable.load(side.model, device=device)
    except BenchError as error:
        say(f"masks of {side.name} are not shown: {error}")
        return None
    if model.checkpoint_sha256 != side.origin["model"].get("checkpoint_sha256"):
        say(f"masks of {side.name} are not shown: the weights that are here are not those of its run")
        return None
    return model


def recorded_answer(
    model: Any,
    side: Side,
    image: np.ndarray,
    info: ImageInfo,
    annotation: Annotation,
    *,
    prompt: str,
    repeat: int,
    iou: float,
    say: Callable[[str], None],
) -> Asked | None:
    """Return what the model of a run answers to a prompt of it; None, with a word, if its IoU is not the recorded one.

    Args:
        model: see `model_of`.
        side: the run.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotation: the object.
        prompt: box, 1click or 3click.
        repeat: which draw of random clicks, from 0 on.
        iou: as recorded, 0..1.
        say: told why there is none.
    """
    asked = ask_again(
        model, side.axes, image, info, annotation, data_set=side.data_set, prompt=prompt, repeat=repeat
    )  # fmt: skip
    if asked is None or abs(asked.iou - iou) > SAME:
        say(f"{side.name} answers object {annotation.id} otherwise than its record says: no mask is shown")
        return None
    return asked


class _Refusing:
    """A predictor that answers nothing and remembers what it was asked."""

    name, sees_truth = "nobody", False
    last: Prompts

    def set_image(self, image: np.ndarray) -> None:
        """Look away."""

    def predict(self, prompts: Prompts, truths: np.ndarray | None) -> Prediction:
        self.last = prompts
        raise UnsupportedPrompt("it answers nothing")


def points_asked(
    axes: Axes, info: ImageInfo, annotations: Sequence[Annotation]
) -> dict[tuple[int, str, int], tuple[np.ndarray, np.ndarray]]:
    """Return the prompts about some objects that depend on no answer: boxes, random clicks and the first of others.

    Args:
        axes: the choices of a run of Table 4.
        info: of the image.
        annotations: the objects.

    Returns:
        By annotation id, prompt and repeat: points [K, 2], px, and labels [K] as `Prompts` has them.
    """
    found: dict[tuple[int, str, int], tuple[np.ndarray, np.ndarray]] = {}
    for part in parts(len(annotations), info):
        truths = truths_of(info, annotations[part], axes)
        if not truths.annotations:
            continue
        nobody = _Refusing()
        for prompt, repeat, _ in answers_of(nobody, truths, axes):
            asked = nobody.last
            if asked.points.shape[1] != POINTS[prompt]:
                continue  # later clicks are placed by answers
            for row, annotation in enumerate(truths.annotations):
                found[annotation.id, prompt, repeat] = asked.points[row], asked.labels[row]
    return found
