"""Table 4: single-object segmentation from a box, one click or three clicks, mIoU on COCO and LVIS (section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.data import Annotation, ImageInfo, Instances, tight_box_xyxy
from bench.metrics.interval import Interval, mean_interval, paired_mean_interval
from bench.metrics.iou import mask_iou
from models.segmenter import FOREGROUND, Prompts
from protocols.answers import Answer, Answerer
from protocols.axes import Axes
from protocols.cells import CellRun
from protocols.clicks import error_click, farthest_from_edge, random_clicks, ritm_click
from protocols.results import Column
from protocols.scores import Scores

NAME = "table4"
VERSION = 1
"""Changes when scoring or prompting changes."""
TITLE = "Zero-shot single-object segmentation, mIoU (Table 4)"
DATA_SETS = ("coco", "lvis")
PROMPTS = {"box": "box", "1click": "1 click", "3click": "3 clicks"}
COLUMNS = tuple(
    Column(f"{data_set}_{key}", label, data_set.upper()) for data_set in DATA_SETS for key, label in PROMPTS.items()
)


class Truths(NamedTuple):
    """The objects of one image that can be asked for."""

    annotations: list[Annotation]
    masks: np.ndarray
    """bool [P, H, W], none empty."""


def evaluate_image(
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
        _record(annotation, prompt, repeat, answer, row, iou)
        for prompt, repeat, answer in _answers(answerer, truths, axes)
        for row, (annotation, iou) in enumerate(
            zip(truths.annotations, mask_iou(answer.masks, truths.masks), strict=True)
        )
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
}


def counted(records: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """Return the records that count under the axes: crowds and small annotations."""
    kept = records["area"] >= axes.smallest_area
    return records[kept if axes.crowd == "keep" else kept & ~records["iscrowd"]]


def score(run: CellRun, instances: Instances, axes: Axes) -> Scores:
    """Return mIoU in 0..1 with its interval for each prompt: the mean over annotations (and repeats).

    With `averaging="category"` each category weighs the same; the interval then resamples images with the
    categories' weights held.
    """
    records = counted(run.records, axes)
    records = records.assign(value=_weighted(records, axes))
    intervals = {
        str(prompt): mean_interval(part["value"].to_numpy(), part["image_id"].to_numpy())
        for prompt, part in records.groupby("prompt", sort=False)
    }
    return Scores(intervals, records)


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of mIoU, first - second, over the same prompts."""
    keys = ["prompt", "image_id", "annotation_id", "repeat"]
    both = first.basis.merge(second.basis[[*keys, "value"]], on=keys, suffixes=("", "_second"), validate="1:1")
    return {
        str(prompt): paired_mean_interval(
            part["value"].to_numpy(), part["value_second"].to_numpy(), part["image_id"].to_numpy()
        )
        for prompt, part in both.groupby("prompt", sort=False)
    }


def _weighted(records: pd.DataFrame, axes: Axes) -> np.ndarray:
    """Return values whose plain mean is the mean over masks, or over categories."""
    values = records["iou"].to_numpy(dtype=np.float64)
    if axes.averaging == "mask":
        return values
    of_prompt = records.groupby("prompt")
    of_category = records.groupby(["prompt", "category_id"])["iou"].transform("size")
    share = of_prompt["iou"].transform("size") / (of_category * of_prompt["category_id"].transform("nunique"))
    return values * share.to_numpy()  # type: ignore[no-any-return]


def footnotes(run: CellRun, instances: Instances, axes: Axes) -> list[str]:
    """Say how many annotations were asked, and what the mean would be with the crowds or without them."""
    asked = run.records["annotation_id"].nunique()
    crowds = run.records[run.records["iscrowd"]]["annotation_id"].nunique()
    line = f"{instances.name.upper()}: {asked - crowds:,} annotations in {len(run.image_ids):,} images"
    if crowds:
        line += f", and {crowds:,} crowds ({'left out of' if axes.crowd == 'skip' else 'counted in'} mIoU)"
    return [line]
