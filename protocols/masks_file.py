"""Somebody's predictions in the place of a model's answers (`masks:FILE`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.data import Detections, ImageDetections, ImageInfo, open_detections
from models.errors import MissingData
from protocols.data_set import DataSet

PREFIX = "masks"


def is_masks_file(name: str) -> bool:
    """Say whether a model's name is that of a file of masks."""
    return name.startswith(f"{PREFIX}:")


def predictions_of(model: Any, data: DataSet) -> Detections | None:
    """Return the predictions that stand for a model's answers about a data set, None if it is a model.

    Raises:
        MissingData: if they are of another data set, of images or categories that it does not list, or have no mask
            that could be scored.
        BenchError: if the file is no COCO results file.
    """
    path = getattr(model, "masks_file", None)
    if path is None:
        return None
    if model.data_set != data.name:
        raise MissingData(
            f"'{model.name}' is of {model.data_set.upper()}: write masks:FILE?data={data.name} if it is not"
        )
    if data.sha256 in model.read:
        return model.read[data.sha256]  # type: ignore[no-any-return]
    found = open_detections(path)
    problem = found.misplaced_mask(data.source.sizes) or next(map(str, found.strangers(data.source)), "")
    if problem:
        raise MissingData(f"{path} cannot be scored on {data.name.upper()}: {problem}")
    model.read[data.sha256] = found  # a table is asked shard by shard
    return found


def detector_records(info: ImageInfo, detections: Detections, most: int) -> list[dict[str, object]]:
    """Return the detector's own masks of an image, one record a detection; see `protocols.table5_prompts`.

    Raises:
        MissingData: if its file holds boxes alone.
    """
    if not detections.has_masks:
        raise MissingData(detections.mask_problem)
    found, masks = detections.for_image(info.id), detections.masks_for_image(info.id)
    return [
        {
            **detection_fields(found, index),
            "image_id": info.id,
            "predicted_iou": 1.0,
            "pick": 0,
            "height": masks[index].size[0],
            "width": masks[index].size[1],
            "counts": masks[index].counts,
        }
        for index in best_of(found, most)
    ]


def best_of(found: ImageDetections, most: int) -> np.ndarray:
    """Return the places of the best detections; of equals the first."""
    return np.argsort(-found.scores, kind="stable")[:most]


def detection_fields(found: ImageDetections, index: int) -> dict[str, object]:
    """Return the fields of a record that are the detector's."""
    return {
        "detection_id": int(found.detection_id[index]),
        "category_id": int(found.category_id[index]),
        "detector_score": float(found.scores[index]),
    }
