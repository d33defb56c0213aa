"""Table 4's questions: every object of an image by box, by one click and by three (section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.data import Annotation, ImageInfo, tight_box_xyxy
from bench.metrics.iou import mask_iou
from models.segmenter import FOREGROUND, Prompts
from protocols.answers import Answer, Answerer
from protocols.axes import Axes
from protocols.clicks import error_click, farthest_from_edge, random_clicks, ritm_click


class Truths(NamedTuple):
    """The objects of one image that can be asked for."""

    annotations: list[Annotation]
    masks: np.ndarray
    """bool [P, H, W], none empty."""


def ask_image(
    answerer: Answerer, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> list[dict[str, object]]:
    """Ask for every object of an image by box, one click and three clicks; one record a prompt.

    Args:
        answerer: the model or frame.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotations: of the image.
        axes: the choices.
    """
    truths = _truths(info, annotations)
    if not truths.annotations:
        return []
    answerer.look(image)
    return [
        record
        for prompt, repeat, answer in _answers(answerer, truths, axes)
        for record in _records(truths, prompt, repeat, answer)
    ]


def ask_boxes(
    answerer: Answerer, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> list[dict[str, object]]:
    """Ask for every object of an image by box alone; the records that `ask_image` makes of them."""
    truths = _truths(info, annotations)
    if not truths.annotations:
        return []
    answerer.look(image)
    return _records(truths, "box", 0, answerer.answer(_boxes(truths, axes), truths.masks))


def _records(truths: Truths, prompt: str, repeat: int, answer: Answer) -> list[dict[str, object]]:
    ious = mask_iou(answer.masks, truths.masks)
    return [
        _record(annotation, prompt, repeat, answer, row, iou)
        for row, (annotation, iou) in enumerate(zip(truths.annotations, ious, strict=True))
    ]


def _truths(info: ImageInfo, annotations: Sequence[Annotation]) -> Truths:
    masks = [annotation.mask(info.height, info.width) for annotation in annotations]
    kept = [(annotation, mask) for annotation, mask in zip(annotations, masks, strict=True) if mask.any()]
    shape = (0, info.height, info.width)
    stacked = np.stack([mask for _, mask in kept]) if kept else np.zeros(shape, bool)
    return Truths([annotation for annotation, _ in kept], stacked)


def _answers(answerer: Answerer, truths: Truths, axes: Axes) -> Iterator[tuple[str, int, Answer]]:
    """Yield (prompt, repeat, answer) for every column and repeat."""
    yield "box", 0, answerer.answer(_boxes(truths, axes), truths.masks)
    if axes.clicks == "random":
        for repeat in range(axes.repeats):
            for count in (1, 3):
                clicks = _random(truths, count, axes, repeat)
                yield f"{count}click", repeat, answerer.answer(clicks, truths.masks)
    else:
        for count, answer in enumerate(_iterative(answerer, truths, axes), start=1):
            if count in (1, 3):
                yield f"{count}click", 0, answer


def _boxes(truths: Truths, axes: Axes) -> Prompts:
    """Return box prompts, clipped to the image so that every model sees the same one."""
    height, width = truths.masks.shape[1:]
    if axes.box_source == "tight":
        boxes = np.stack([tight_box_xyxy(mask) for mask in truths.masks])
    else:
        boxes = np.array([annotation.box_xyxy for annotation in truths.annotations])
    return Prompts.from_boxes(boxes.clip(0, [width, height, width, height]))


def _random(truths: Truths, count: int, axes: Axes, repeat: int) -> Prompts:
    points = [
        random_clicks(mask, count, seed=axes.seed, repeat=repeat, annotation_id=annotation.id)
        for annotation, mask in zip(truths.annotations, truths.masks, strict=True)
    ]
    return Prompts(np.stack(points), np.full((len(points), count), FOREGROUND))


def _iterative(answerer: Answerer, truths: Truths, axes: Axes) -> Iterator[Answer]:
    """Yield the answers after one, two and three clicks, each placed by what the last answer got wrong.

    The model sees all clicks so far and no earlier mask.
    """
    masks = np.zeros_like(truths.masks)
    points = np.zeros((len(masks), 0, 2), np.float32)
    labels = np.zeros((len(masks), 0), np.int64)
    for position in range(3):
        clicks = [
            _next_click(truth, mask, axes, position, annotation.id)
            for truth, mask, annotation in zip(truths.masks, masks, truths.annotations, strict=True)
        ]
        points = np.concatenate([points, np.stack([point for point, _ in clicks])[:, None]], axis=1)
        labels = np.concatenate([labels, np.array([[label] for _, label in clicks])], axis=1)
        answer = answerer.answer(Prompts(points, labels), truths.masks)
        masks = answer.masks
        yield answer


def _next_click(
    truth: np.ndarray, mask: np.ndarray, axes: Axes, position: int, annotation_id: int
) -> tuple[np.ndarray, int]:
    if axes.clicks == "ritm":
        return ritm_click(truth, mask)
    if position == 0:
        return farthest_from_edge(truth), FOREGROUND
    return error_click(truth, mask, seed=axes.seed, position=position, annotation_id=annotation_id)


def _record(
    annotation: Annotation, prompt: str, repeat: int, answer: Answer, row: int, iou: float
) -> dict[str, object]:
    return {
        "image_id": annotation.image_id,
        "annotation_id": annotation.id,
        "category_id": annotation.category_id,
        "area": float(annotation.area),
        "iscrowd": bool(annotation.iscrowd),
        "prompt": prompt,
        "repeat": repeat,
        "pick": int(answer.pick[row]),
        "predicted_iou": float(answer.predicted_iou[row]),
        "iou": float(iou),
    }
