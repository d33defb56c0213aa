"""Table 5: instance segmentation from a detector's boxes, mask AP on COCO and LVIS (section 4.4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pycocotools import mask as rle

from bench.data import Annotation, DetectionBatch, ImageInfo, Instances, tight_box_xyxy
from bench.metrics.ap import coco_ap, lvis_ap
from bench.metrics.interval import Interval
from models.segmenter import Prompts
from protocols.answers import Answerer, fill_box
from protocols.axes import Axes
from protocols.cells import CellRun
from protocols.results import Column
from protocols.scores import Scores

NAME = "table5"
VERSION = 1
"""Changes when scoring or prompting changes."""
TITLE = "Zero-shot instance segmentation from detected boxes, mask AP (Table 5)"
DATA_SETS = ("coco", "lvis")
METRICS = {"ap": "AP", "ap_s": "AP_S", "ap_m": "AP_M", "ap_l": "AP_L"}
COLUMNS = tuple(
    Column(f"{data_set}_{key}", label, data_set.upper()) for data_set in DATA_SETS for key, label in METRICS.items()
)
MOST_DETECTIONS = {"coco": 100, "lvis": 300}
"""Detections an image that count: pycocotools' and lvis's defaults."""
REPLICATES = 500
"""Bootstrap replicates of AP; it costs more than a mean."""

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


def evaluate_image(
    answerer: Answerer,
    image: np.ndarray,
    info: ImageInfo,
    annotations: Sequence[Annotation],
    axes: Axes,
    *,
    detections: DetectionBatch,
    most: int,
) -> list[dict[str, object]]:
    """Turn the best `most` detections of an image into masks; one record a detection.

    Args:
        answerer: the model or frame.
        image: uint8 [H, W, 3] RGB.
        info: of the image.
        annotations: of the image; only the ceiling looks at them.
        axes: the choices.
        detections: of the image.
        most: detections that count.
    """
    best = np.argsort(-detections.scores, kind="stable")[:most]
    boxes = detections.boxes_xyxy[best].clip(0, [info.width, info.height, info.width, info.height])
    if not len(best):
        return []
    answerer.look(image)
    answer = answerer.answer(Prompts.from_boxes(boxes), _nearest_truths(boxes, info, annotations))
    encoded = rle.encode(np.asfortranarray(answer.masks.transpose(1, 2, 0).astype(np.uint8)))
    return [
        {
            "image_id": info.id,
            "detection_id": int(detections.detection_id[index]),
            "category_id": int(detections.category_id[index]),
            "detector_score": float(detections.scores[index]),
            "predicted_iou": float(answer.predicted_iou[row]),
            "pick": int(answer.pick[row]),
            "height": info.height,
            "width": info.width,
            "counts": encoded[row]["counts"].decode("ascii"),
        }
        for row, index in enumerate(best)
    ]


def _nearest_truths(boxes: np.ndarray, info: ImageInfo, annotations: Sequence[Annotation]) -> np.ndarray:
    """Return for each box [P, 4] the object whose box overlaps it most, bool [P, H, W]; the box if none does."""
    objects = [a for a in annotations if not a.iscrowd]
    masks = [mask for mask in (a.mask(info.height, info.width) for a in objects) if mask.any()]
    if not masks:
        return np.stack([fill_box(box, (info.height, info.width)) for box in boxes])
    overlap = _box_iou(boxes, np.stack([tight_box_xyxy(mask) for mask in masks]))
    return np.stack(
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


def to_results(records: pd.DataFrame, axes: Axes) -> list[dict[str, object]]:
    """Return records in COCO's results format, without boxes, so that areas are the masks'."""
    scores = records["detector_score"]
    if axes.score == "detector_x_predicted_iou":
        scores = scores * records["predicted_iou"]
    return [
        {
            "image_id": int(row.image_id),
            "category_id": int(row.category_id),
            "segmentation": {"size": [int(row.height), int(row.width)], "counts": row.counts},
            "score": float(value),
        }
        for row, value in zip(records.itertuples(index=False), scores, strict=True)
    ]


_AP = {"coco": coco_ap, "lvis": lvis_ap}
_STATS = {"ap": "AP", "ap_s": "APs", "ap_m": "APm", "ap_l": "APl"}


def score(run: CellRun, instances: Instances, axes: Axes) -> Scores:
    """Return AP, AP_S, AP_M and AP_L in 0..1 with their intervals over the images that were asked."""
    result = _AP[instances.name](
        instances.annotation_path, to_results(run.records, axes), replicates=REPLICATES, image_ids=run.image_ids
    )
    return Scores({key: result.intervals[stat] for key, stat in _STATS.items()}, result)


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each AP, first - second, over the same images."""
    differences = first.basis.difference(second.basis)
    return {key: differences[stat] for key, stat in _STATS.items()}


def footnotes(run: CellRun, instances: Instances, axes: Axes) -> list[str]:
    """Say how many detections were asked."""
    return [f"{instances.name.upper()}: {len(run.records):,} boxes in {len(run.image_ids):,} images"]
