"""Table 5's questions: a mask for each of a detector's boxes (section 4.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.data import Annotation, Detections, ImageInfo, tight_box_xyxy
from bench.data.masks import stacked
from models.annotations import encode_all
from models.errors import MissingData
from models.segmenter import Prompts
from protocols.axes import Axes, most_detections
from protocols.data_set import DataSet
from protocols.masks_file import best_of, detection_fields, detector_records, predictions_of
from protocols.predictors import Predictor, fill_box, predictor_of
from protocols.promptable import DETECTOR
from protocols.shards import records_of
from protocols.table4_prompts import parts

RECORD_TYPES = {
    "image_id": "int64",
    "detection_id": "int64",
    "category_id": "int64",
    "detector_score": "float64",
    "predicted_iou": "float64",
    "pick": "int64",
    "height": "int64",
    "width": "int64",
    "counts": "str",
}


def ask(model: Any, data: DataSet, images: Sequence[ImageInfo], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return a record for each detection in some images, see `RECORD_TYPES`.

    Args:
        model: a segmenter of the zoo, a predictor, or the card of the detector or a file of masks, whose own masks then
            stand for answers.
        data: see `protocols.instance_sets`, with boxes.
        images: some of its images.
        advance: told of images as they are done.

    Raises:
        MissingData: if the detector's own masks, or a file's, are asked for and cannot be had or scored.
    """
    axes, boxes = data.chosen, data.boxes
    most = most_detections(data.name, axes)
    if (given := predictions_of(model, data)) is not None:
        return records_of(images, RECORD_TYPES, lambda info, _: detector_records(info, given, most), advance)
    assert boxes is not None
    if model.name == DETECTOR:
        if problem := boxes.misplaced_mask(data.source.sizes):
            raise MissingData(problem)
        return records_of(images, RECORD_TYPES, lambda info, _: detector_records(info, boxes, most), advance)
    predictor = predictor_of(model, axes)

    def about(info: ImageInfo, image: np.ndarray) -> list[dict[str, object]]:
        annotations = data.source.annotations(info.id, with_empty=axes.empty != "skip")
        return ask_image(predictor, image, info, annotations, axes, detections=boxes, most=most)

    return records_of(images, RECORD_TYPES, about, advance)


def ask_image(
    predictor: Predictor,
    image: np.ndarray,
    info: ImageInfo,
    annotations: Sequence[Annotation],
    axes: Axes,
    *,
    detections: Detections,
    most: int,
) -> list[dict[str, object]]:
    """Turn the best `most` detections of an image into masks, in parts that fit into memory; one record a detection.

    Args:
        predictor: the model or frame.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotations: of the image; only the ceiling looks at them.
        axes: the choices.
        detections: of all images.
        most: detections of an image that count.
    """
    found = detections.for_image(info.id)
    best = best_of(found, most)
    boxes = found.boxes_xyxy[best]
    if axes.clip_boxes:
        boxes = boxes.clip(0, [info.width, info.height, info.width, info.height])
    if not len(best):
        return []
    predictor.set_image(image)
    records: list[dict[str, object]] = []
    for part in parts(len(best), info):
        truths = _nearest_truths(boxes[part], info, annotations) if predictor.sees_truth else None
        answer = predictor.predict(Prompts.from_boxes(boxes[part]), truths)
        encoded = encode_all(answer.masks)
        records += [
            {
                **detection_fields(found, index),
                "image_id": info.id,
                "predicted_iou": float(answer.predicted_iou[row]),
                "pick": int(answer.pick[row]),
                "height": info.height,
                "width": info.width,
                "counts": encoded[row]["counts"],
            }
            for row, index in enumerate(best[part])
        ]
    return records


def _nearest_truths(boxes: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation]) -> np.ndarray:
    """Return for each box [P, 4] the object whose box overlaps it most, bool [P, H, W]; the box if none does."""
    objects = [a for a in annotations if not a.iscrowd]
    masks = [mask for mask in (a.mask(info.height, info.width) for a in objects) if mask.any()]
    if not masks:
        return stacked([fill_box(box, (info.height, info.width)) for box in boxes])
    overlap = _box_iou(boxes, np.stack([tight_box_xyxy(mask) for mask in masks]))
    return stacked(
        [
            masks[row.argmax()] if row.max() > 0 else fill_box(box, (info.height, info.width))
            for row, box in zip(overlap, boxes, strict=True)
        ]
    )


def _box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes [P, 4] and [Q, 4] (xyxy), [P, Q]."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    opposite = np.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = (opposite - corner).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (first, second)]
    return overlap / (areas[0][:, None] + areas[1][None, :] - overlap).clip(1e-9)  # type: ignore[no-any-return]
