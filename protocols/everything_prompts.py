"""What table `everything` asks: all masks of each image, without a prompt, and the time that they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bench.data import ImageInfo
from models.everything.segment import Settings, segment_everything
from protocols.data_set import DataSet
from protocols.shards import records_of

NO_MASK = -1
"""Rank in the record of an image in which nothing was found."""
RECORD_TYPES = {
    "image_id": "int64",
    "rank": "int64",
    "predicted_iou": "float64",
    "stability": "float64",
    "area": "int64",
    "height": "int64",
    "width": "int64",
    "counts": "str",
    "seconds": "float64",
}
"""One record for each mask, in the model's order, which `rank` counts from 0; one with the rank `NO_MASK` for an image
in which nothing was found. `predicted_iou`, `stability`: 0..1, NaN where the model gives none. `area`: px. `counts`:
run lengths, as in COCO's results. `seconds`: wall clock of the whole image, the same in all its records."""


def ask(model: Any, data: DataSet, images: Sequence[ImageInfo], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return the records of images, see `RECORD_TYPES`; before the first, the model finds something untimed.

    Args:
        model: a segmenter of the zoo, perhaps one that remembers embeddings: it does not here, where it is timed.
        data: its `truth` holds the settings of the generator as "generator".
        images: that are asked about.
        advance: told of images as they are done.

    Raises:
        UnsupportedPrompt: if the model cannot segment everything.
    """
    segmenter = getattr(model, "segmenter", model)
    settings = Settings(**data.truth["generator"])
    warm = False

    def of_image(info: ImageInfo, photo: np.ndarray) -> Iterator[dict[str, object]]:
        nonlocal warm
        if not warm:
            segment_everything(segmenter, photo, replace(settings, points_per_side=1))
            warm = True
        return _of_image(segmenter, info, photo, settings)

    return records_of(images, RECORD_TYPES, of_image, advance)


def _of_image(segmenter: Any, info: ImageInfo, photo: np.ndarray, settings: Settings) -> Iterator[dict[str, object]]:
    """Yield the records of a photo uint8 [H, W, 3]."""
    started = time.perf_counter()
    found = segment_everything(segmenter, photo, settings)  # ends with run lengths, so no GPU is still at work
    about = {
        "image_id": info.id,
        "height": info.height,
        "width": info.width,
        "seconds": time.perf_counter() - started,
    }
    for rank, one in enumerate(found):
        yield {
            **about,
            "rank": rank,
            "predicted_iou": _number(one["predicted_iou"]),
            "stability": _number(one["stability_score"]),
            "area": one["area"],
            "counts": one["segmentation"]["counts"],
        }
    if not found:
        yield {**about, "rank": NO_MASK, "predicted_iou": np.nan, "stability": np.nan, "area": 0, "counts": ""}


def _number(value: float | None) -> float:
    return np.nan if value is None else value
