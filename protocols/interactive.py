"""Table 4's questions: every object of an image by box, by one click and by three (section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bench.data import Annotation, ImageInfo, tight_box_xyxy
from bench.metrics.iou import mask_iou
from models.errors import UnsupportedPrompt
from models.segmenter import FOREGROUND, Prompts
from protocols.answers import PROMPTS_AT_ONCE, Answer, Answerer
from protocols.axes import Axes
from protocols.clicks import error_click, farthest_from_edge, random_clicks, ritm_click


class Truths(NamedTuple):
    """The objects of one image that can be asked for."""

    annotations: list[Annotation]
    masks: np.ndarray
    """bool [P, H, W], none empty."""


MEMORY = 1 << 28
"""Bytes that the truths and answers of one image may take at once; a crowd of thousands is asked in parts."""
BYTES_A_PIXEL = 8
"""Of each prompt: truth, answer, candidates and what IoU needs, a byte a pixel each, and some room."""


class Refusal(NamedTuple):
    """A prompt that the model cannot take."""

    why: str


def ask_image(
    answerer: Answerer, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> list[dict[str, object]]:
    """Ask for every object of an image by box, one click and three clicks; one record a prompt.

    A kind of prompt that the model cannot take has records that say why, and no IoU.

    Args:
        answerer: the model or frame.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotations: of the image.
        axes: the choices.

    Raises:
        UnsupportedPrompt: if the model can take none of them.
    """
    records: list[dict[str, object]] = []
    for part in parts(len(annotations), info):
        truths = _truths(info, annotations[part])
        if not truths.annotations:
            continue
        if not records:
            answerer.look(image)
        answers = list(_answers(answerer, truths, axes))
        refusals = [answer for _, _, answer in answers if isinstance(answer, Refusal)]
        if len(refusals) == len(answers) > 0:
            raise UnsupportedPrompt(refusals[0].why)
        for prompt, repeat, answer in answers:
            records += _records(truths, prompt, repeat, answer)
    return records


def parts(count: int, info: ImageInfo) -> Iterator[slice]:
    """Part the prompts of an image so that each part's masks fit into `MEMORY`."""
    fitting = MEMORY // (BYTES_A_PIXEL * info.height * info.width)
    step = max(1, fitting // PROMPTS_AT_ONCE) * PROMPTS_AT_ONCE  # so that decoder calls are those of one part
    yield from (slice(start, start + step) for start in range(0, count, step))


def ask_boxes(
    answerer: Answerer, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> list[dict[str, object]]:
    """Ask for every object of an image by box alone; the records that `ask_image` makes of them."""
    truths = _truths(info, annotations)
    if not truths.annotations:
        return []
    answerer.look(image)
    return _records(truths, "box", 0, answerer.answer(_boxes(truths, axes), truths.masks))


def _records(truths: Truths, prompt: str, repeat: int, answer: Answer | Refusal) -> list[dict[str, object]]:
    if isinstance(answer, Refusal):
        return [
            {**_about(annotation, prompt, repeat), **NO_ANSWER, "refused": answer.why}
            for annotation in truths.annotations
        ]
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


def _answers(answerer: Answerer, truths: Truths, axes: Axes) -> Iterator[tuple[str, int, Answer | Refusal]]:
    """Yield (prompt, repeat, answer) for every column that the evaluator has, and every repeat."""
    if axes.asks("box"):
        yield "box", 0, _answer(answerer, _boxes(truths, axes), truths.masks)
    counts = [count for count in (1, 3) if axes.asks(f"{count}click")]
    if axes.clicks == "random":
        for repeat in range(axes.repeats):
            for count in counts:
                clicks = _random(truths, count, axes, repeat)
                yield f"{count}click", repeat, _answer(answerer, clicks, truths.masks)
    elif counts:
        answer: Answer | Refusal = Refusal("")
        for count, answer in enumerate(_iterative(answerer, truths, axes, max(counts)), start=1):
            if count in counts and not isinstance(answer, Refusal):
                yield f"{count}click", 0, answer
        if isinstance(answer, Refusal):
            yield from ((f"{later}click", 0, answer) for later in counts if later >= count)


def _answer(answerer: Answerer, prompts: Prompts, truths: np.ndarray) -> Answer | Refusal:
    try:
        return answerer.answer(prompts, truths)
    except UnsupportedPrompt as refused:
        return Refusal(str(refused))


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


def _iterative(answerer: Answerer, truths: Truths, axes: Axes, count: int) -> Iterator[Answer | Refusal]:
    """Yield the answers after one, two, ... clicks, each placed by what the last answer got wrong.

    The model sees all clicks so far and no earlier mask. A refusal is the last.
    """
    masks = np.zeros_like(truths.masks)
    points = np.zeros((len(masks), 0, 2), np.float32)
    labels = np.zeros((len(masks), 0), np.int64)
    for position in range(count):
        clicks = [
            _next_click(truth, mask, axes, position, annotation.id)
            for truth, mask, annotation in zip(truths.masks, masks, truths.annotations, strict=True)
        ]
        points = np.concatenate([points, np.stack([point for point, _ in clicks])[:, None]], axis=1)
        labels = np.concatenate([labels, np.array([[label] for _, label in clicks])], axis=1)
        answer = _answer(answerer, Prompts(points, labels), truths.masks)
        yield answer
        if isinstance(answer, Refusal):
            return
        masks = answer.masks


def _next_click(
    truth: np.ndarray, mask: np.ndarray, axes: Axes, position: int, annotation_id: int
) -> tuple[np.ndarray, int]:
    if axes.clicks == "ritm":
        return ritm_click(truth, mask)
    if position == 0:
        return farthest_from_edge(truth), FOREGROUND
    return error_click(truth, mask, seed=axes.seed, position=position, annotation_id=annotation_id)


NO_ANSWER: dict[str, object] = {"pick": -1, "predicted_iou": float("nan"), "iou": float("nan")}


def _record(
    annotation: Annotation, prompt: str, repeat: int, answer: Answer, row: int, iou: float
) -> dict[str, object]:
    return {
        **_about(annotation, prompt, repeat),
        "pick": int(answer.pick[row]),
        "predicted_iou": float(answer.predicted_iou[row]),
        "iou": float(iou),
        "refused": "",
    }


def _about(annotation: Annotation, prompt: str, repeat: int) -> dict[str, object]:
    return {
        "image_id": annotation.image_id,
        "annotation_id": annotation.id,
        "category_id": annotation.category_id,
        "area": float(annotation.area),
        "iscrowd": bool(annotation.iscrowd),
        "prompt": prompt,
        "repeat": repeat,
    }
