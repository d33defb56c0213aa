"""Clicks one after another, each placed by what the last answer got wrong: the interactive policies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from models.errors import UnsupportedPrompt
from models.segmenter import BACKGROUND, FOREGROUND, Prompts
from protocols.axes import Axes
from protocols.predictors import Prediction, Predictor
from protocols.prompts.error_clicks import Errors, approximate_middle, cell_errors, error_click, pixel_errors
from protocols.prompts.frame import SIDE, Frame
from protocols.prompts.mass_clicks import mass_click
from protocols.prompts.random_clicks import farthest_from_edge, ritm_click
from protocols.prompts.truths import Truths


class Clicks(NamedTuple):
    """One click a prompt."""

    points: np.ndarray
    """float32 [P, 2] (x, y), px of the image."""
    labels: np.ndarray
    """int64 [P]."""


def clicked(
    predictor: Predictor, truths: Truths, axes: Axes, answers: int, *, start: Prompts | None = None
) -> Iterator[tuple[Prompts, Prediction]]:
    """Yield prompts and answers after one, two, ... clicks.

    The model sees all clicks so far, and with `Axes.mask_prompt` what it answered last.

    Args:
        predictor: has looked at the image.
        truths: of the image.
        axes: the choices; their clicks are not random ones.
        answers: how many.
        start: prompts that are asked first, boxes for example, and to which clicks are added.

    Raises:
        UnsupportedPrompt: if the model cannot take a prompt, or clicks are to be placed on a low-resolution answer
            that it does not have.
    """
    prompts, answer = start, None
    for position in range(answers):
        if position or start is None:
            click = POLICIES[axes.clicks](truths, axes, position, prompts, answer)
            prompts = with_click(prompts, click, answer)
        assert prompts is not None
        answer = predictor.predict(prompts, truths.rasters)
        yield prompts, answer


def with_click(prompts: Prompts | None, click: Clicks, answer: Prediction | None = None) -> Prompts:
    """Return prompts with one click more, and with the last answer as a mask prompt where it has logits for that."""
    points, labels = click.points[:, None], click.labels[:, None]
    if prompts is None:
        return Prompts(points, labels)
    return Prompts(
        np.concatenate([prompts.points, points], 1),
        np.concatenate([prompts.labels, labels], 1),
        None if answer is None else answer.logits,
    )


def _ritm(truths: Truths, axes: Axes, position: int, prompts: Prompts | None, answer: Prediction | None) -> Clicks:
    predictions = np.zeros_like(truths.masks) if answer is None else answer.masks
    clicks = []
    for row, (truth, prediction) in enumerate(zip(truths.masks, predictions, strict=True)):
        before = None if axes.click_again or prompts is None else clicked_pixels(prompts, row)
        clicks.append(ritm_click(truth, prediction, tie=axes.tie, clicked=before))
    return _stacked(clicks)


def clicked_pixels(prompts: Prompts, row: int) -> np.ndarray:
    """Return the pixels (x, y) int64 [K, 2] that a prompt clicks."""
    clicks = np.isin(prompts.labels[row], (BACKGROUND, FOREGROUND))
    return prompts.points[row, clicks].astype(np.int64)


def _centre(truths: Truths, axes: Axes, position: int, prompts: Prompts | None, answer: Prediction | None) -> Clicks:
    if answer is None:
        return _stacked([(FIRST[axes.first_click](mask), FOREGROUND) for mask in truths.masks])
    errors, to_image = ERRORS[axes.click_frame](truths, answer)
    points, labels = _stacked(
        [
            error_click(
                wrong, smallest=axes.smallest_error, seed=axes.seed, position=position, annotation_id=annotation.id
            )
            for wrong, annotation in zip(errors, truths.annotations, strict=True)
        ]
    )
    return Clicks(to_image(points), labels)


def _stacked(clicks: list[tuple[np.ndarray, int]]) -> Clicks:
    return Clicks(np.stack([point for point, _ in clicks]), np.array([label for _, label in clicks]))


def _middle_in_frame(mask: np.ndarray) -> np.ndarray:
    frame = Frame.of((mask.shape[0], mask.shape[1]))
    return frame.to_image(approximate_middle(frame.enter(mask)))


FIRST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "deepest": farthest_from_edge,
    "approximately_deepest": _middle_in_frame,
    "centre_of_mass": mass_click,
}
"""See `Axes.first_click`: a point (x, y), px of the image, of a mask bool [H, W]."""

Places = tuple[list[Errors], Callable[[np.ndarray], np.ndarray]]
"""Where P answers are wrong, and how places (x, y) there become pixels of the image."""


def _wrong_pixels(truths: Truths, answer: Prediction) -> Places:
    pairs = zip(truths.masks, answer.masks, strict=True)
    return [pixel_errors(truth, prediction) for truth, prediction in pairs], lambda places: places


def _wrong_cells(truths: Truths, answer: Prediction) -> Places:
    if answer.cells is None:
        raise UnsupportedPrompt(
            "clicks are placed on low-resolution logits in a frame padded to a square, which this model does not have: "
            "take another preset, or a model that pads as SAM does"
        )
    frame = Frame.of((truths.masks.shape[1], truths.masks.shape[2]))
    pairs = zip(truths.masks, answer.cells, strict=True)
    errors = [cell_errors(frame.enter(truth), prediction, frame) for truth, prediction in pairs]
    step = SIDE // answer.cells.shape[1]
    return errors, lambda places: frame.to_image(places * step)


ERRORS: dict[str, Callable[[Truths, Prediction], Places]] = {"image": _wrong_pixels, "low_resolution": _wrong_cells}
"""See `Axes.click_frame`."""
POLICIES: dict[str, Callable[[Truths, Axes, int, Prompts | None, Prediction | None], Clicks]] = {
    "ritm": _ritm,
    "centre": _centre,
}
"""See `Axes.clicks`: how the next clicks follow from the number of the click, the prompts and answers so far."""
