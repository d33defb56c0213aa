"""Table 4's questions: every object of an image by box, by one click and by three (section 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bench.data import Annotation, ImageInfo
from models.errors import UnsupportedPrompt
from models.segmenter import FOREGROUND, Prompts
from protocols.axes import Axes
from protocols.data_set import DataSet
from protocols.predictors import PROMPTS_AT_ONCE, Prediction, Predictor, predictor_of
from protocols.prompts.random_clicks import random_clicks
from protocols.prompts.sequences import clicked
from protocols.prompts.truths import Truths, boxes_of, ious, truths_of
from protocols.shards import records_of

RECORD_TYPES = {
    "image_id": "int64",
    "annotation_id": "int64",
    "category_id": "int64",
    "area": "float64",
    "iscrowd": "bool",
    "prompt": "str",
    "repeat": "int64",
    "pick": "int64",
    "predicted_iou": "float64",
    "iou": "float64",
    "refused": "str",
}
"""One record a prompt; `refused` says why the model cannot take it, empty if it can."""
MEMORY = 1 << 28
"""Bytes that the truths and answers of one image may take at once; a crowd of thousands is asked in parts."""
BYTES_A_PIXEL = 8
"""Of each prompt: truth, answer, candidates and what IoU needs, a byte a pixel each, and some room."""


class Refusal(NamedTuple):
    """A prompt that the model cannot take."""

    why: str


def ask(model: Any, data: DataSet, images: Sequence[ImageInfo], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return a record for each prompt about some images, see `RECORD_TYPES`.

    Args:
        model: a segmenter of the zoo, or a predictor.
        data: see `protocols.instance_sets`.
        images: some of its images.
        advance: told of images as they are done.

    Raises:
        UnsupportedPrompt: if the model can take none of the prompts.
    """
    return ask_by(ask_image, model, data, data.chosen, images, RECORD_TYPES, advance)


AskImage = Callable[[Predictor, np.ndarray, ImageInfo, Sequence[Annotation], Axes], list[dict[str, object]]]


def ask_by(
    ask_image: AskImage,
    model: Any,
    data: DataSet,
    axes: Axes,
    images: Sequence[ImageInfo],
    types: Mapping[str, str],
    advance: Callable[[int], None],
) -> pd.DataFrame:
    """Return the records, of these types, that a table's `ask_image` makes of some images; otherwise as `ask`."""
    predictor = predictor_of(model, axes)

    def about(info: ImageInfo, image: np.ndarray) -> list[dict[str, object]]:
        annotations = data.source.annotations(info.id, with_empty=axes.empty != "skip")
        return ask_image(predictor, image, info, annotations, axes)

    return records_of(images, types, about, advance)


def shown(
    predictor: Predictor, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> Iterator[Truths]:
    """Show a predictor an image, if anything in it is asked, and yield what is, in parts of bounded memory."""
    seen = False
    for part in parts(len(annotations), info):
        truths = truths_of(info, annotations[part], axes)
        if not truths.annotations:
            continue
        if not seen:
            predictor.set_image(image)
        seen = True
        yield truths


def ask_image(
    predictor: Predictor, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> list[dict[str, object]]:
    """Ask for every object of an image by box, one click and three clicks; one record a prompt.

    A kind of prompt that the model cannot take has records that say why, and no IoU.

    Args:
        predictor: the model or frame.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotations: of the image.
        axes: the choices.

    Raises:
        UnsupportedPrompt: if the model can take none of them.
    """
    records: list[dict[str, object]] = []
    for truths in shown(predictor, image, info, annotations, axes):
        answers = list(answers_of(predictor, truths, axes))
        refusals = [answer for _, _, answer in answers if isinstance(answer, Refusal)]
        if len(refusals) == len(answers) > 0:
            raise UnsupportedPrompt(refusals[0].why)
        for prompt, repeat, answer in answers:
            records += _records(truths, prompt, repeat, answer, axes)
    return records


def parts(count: int, info: ImageInfo) -> Iterator[slice]:
    """Part the prompts of an image so that each part's masks fit into `MEMORY`."""
    fitting = MEMORY // (BYTES_A_PIXEL * info.height * info.width)
    step = max(1, fitting // PROMPTS_AT_ONCE) * PROMPTS_AT_ONCE  # so that decoder calls are those of one part
    yield from (slice(start, start + step) for start in range(0, count, step))


def ask_boxes(
    predictor: Predictor, image: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation], axes: Axes
) -> list[dict[str, object]]:
    """Ask for every object of an image by box alone; the records that `ask_image` makes of them."""
    truths = truths_of(info, annotations, axes)
    if not truths.annotations:
        return []
    predictor.set_image(image)
    return _records(truths, "box", 0, predictor.predict(boxes_of(truths, axes), truths.rasters), axes)


def _records(
    truths: Truths, prompt: str, repeat: int, answer: Prediction | Refusal, axes: Axes
) -> list[dict[str, object]]:
    if isinstance(answer, Refusal):
        return [
            {**_about(annotation, prompt, repeat), **NO_ANSWER, "refused": answer.why}
            for annotation in truths.annotations
        ]
    return [
        _record(annotation, prompt, repeat, answer, row, iou)
        for row, (annotation, iou) in enumerate(zip(truths.annotations, ious(answer.masks, truths, axes), strict=True))
    ]


def answers_of(predictor: Predictor, truths: Truths, axes: Axes) -> Iterator[tuple[str, int, Prediction | Refusal]]:
    """Yield (prompt, repeat, answer) for every column that the evaluator has, and every repeat."""
    if axes.asks("box"):
        yield "box", 0, _answer(predictor, boxes_of(truths, axes), truths.rasters)
    counts = [count for count in (1, 3) if axes.asks(f"{count}click")]
    if axes.clicks == "random":
        for repeat in range(axes.repeats):
            for count in counts:
                clicks = _random(truths, count, axes, repeat)
                yield f"{count}click", repeat, _answer(predictor, clicks, truths.rasters)
    elif counts:
        answer: Prediction | Refusal = Refusal("")
        for count, answer in enumerate(_iterative(predictor, truths, axes, max(counts)), start=1):
            if count in counts and not isinstance(answer, Refusal):
                yield f"{count}click", 0, answer
        if isinstance(answer, Refusal):
            yield from ((f"{later}click", 0, answer) for later in counts if later >= count)


def _answer(predictor: Predictor, prompts: Prompts, truths: np.ndarray) -> Prediction | Refusal:
    try:
        return predictor.predict(prompts, truths)
    except UnsupportedPrompt as refused:
        return Refusal(str(refused))


def _random(truths: Truths, count: int, axes: Axes, repeat: int) -> Prompts:
    points = [
        random_clicks(mask, count, seed=axes.seed, repeat=repeat, annotation_id=annotation.id)
        for annotation, mask in zip(truths.annotations, truths.masks, strict=True)
    ]
    return Prompts(np.stack(points), np.full((len(points), count), FOREGROUND))


def _iterative(predictor: Predictor, truths: Truths, axes: Axes, count: int) -> Iterator[Prediction | Refusal]:
    """Yield the answers after one, two, ... clicks, each placed by the last answer. A refusal is the last."""
    try:
        for _, answer in clicked(predictor, truths, axes, count):
            yield answer
    except UnsupportedPrompt as refused:
        yield Refusal(str(refused))


NO_ANSWER: dict[str, object] = {"pick": -1, "predicted_iou": float("nan"), "iou": float("nan")}


def _record(
    annotation: Annotation, prompt: str, repeat: int, answer: Prediction, row: int, iou: float
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
