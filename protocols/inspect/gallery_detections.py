"""Detections of one run, each with the object of its category that it overlaps most; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pycocotools import mask as coco_rle

from bench.data import Annotation, Detections, Instances, open_detections
from bench.data.catalog import BOX_SETS
from bench.data.masks import to_rle
from protocols.inspect.compare import size_classes, with_estimates
from protocols.inspect.sides import Side

DETECTION = "detection"
"""The prompt of an instance that is a detection."""
NOBODY = -1
"""The annotation id of a detection that overlaps no object of its category."""
SCORES = ("detector_score", "score")
"""Columns of records of masks that hold a detector's score."""
BOX = ["left", "top", "right", "bottom"]
"""Columns of a detection's box, px."""


def detector_boxes(side: Side, roots: Sequence[Path | None]) -> Detections | None:
    """Return the boxes that a run of Table 5 was asked about, None where they are not here: its records lack them.

    Args:
        side: the run.
        roots: of data sets, where the file of boxes may lie.
    """
    wanted = side.origin["data"].get("boxes")
    for root in roots:
        path = None if root is None else root / BOX_SETS[f"{side.data_set}-boxes"].file
        if wanted is not None and path is not None and path.is_file():
            found = open_detections(path)
            if found.sha256 == wanted:
                return found
    return None


def detections_of(side: Side, source: Instances, boxes: Detections | None = None) -> pd.DataFrame:
    """Return a row a detection, with the object of its category that it overlaps most.

    Overlap with a crowd is the share of the detection that lies in it, as COCO has it.

    Args:
        side: a run or a file of masks.
        source: what it is about.
        boxes: the detections that were turned into masks, where they are known and not in the records.

    Returns:
        image_id, category_id, annotation_id (`NOBODY` where no object is touched), prompt, repeat, area and size of the
        object (else of the detection), first (the IoU, else 0), predicted_iou_first (of what has none, the detector's
        score), counts_first, and `BOX`, NaN where it is not known.
    """
    records = with_estimates(side).reset_index(drop=True)
    score = next((name for name in SCORES if name in records), None)
    estimate = records["predicted_iou"]
    if score is not None and estimate.isna().all():
        estimate = records[score]
    objects, values, areas = (np.empty(len(records), kind) for kind in (np.int64, np.float64, np.float64))
    for image_id, part in records.groupby("image_id", sort=False):
        of_image = source.annotations(int(str(image_id)))
        rows = part.index.to_numpy()
        objects[rows], values[rows], areas[rows] = _nearest(part, of_image, source.sizes[int(str(image_id))])
    records = _with_boxes(records, boxes)
    table = records[["image_id", "category_id", *BOX]].assign(
        annotation_id=objects, prompt=DETECTION, repeat=0, area=areas, first=values
    )
    table["predicted_iou_first"], table["counts_first"] = estimate, records["counts"]
    return table.assign(size=size_classes(table["area"]))


def _nearest(
    records: pd.DataFrame, annotations: Sequence[Annotation], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each detection of an image the object of its category it overlaps most, their IoU, the object's area.

    Without one these are `NOBODY`, 0 and the detection's own area.
    """
    masks = [{"size": list(size), "counts": text.encode()} for text in records["counts"]]
    objects, values = np.full(len(masks), NOBODY), np.zeros(len(masks))
    areas = np.array([float(coco_rle.area(mask)) for mask in masks])
    for category_id, places in records.reset_index(drop=True).groupby("category_id").groups.items():
        near = [one for one in annotations if one.category_id == category_id]
        if not near:
            continue
        rows = np.asarray(places)
        truths = [to_rle(one.segmentation, *size) for one in near]
        ious = np.asarray(coco_rle.iou([masks[row] for row in rows], truths, [int(one.iscrowd) for one in near]))
        best = ious.argmax(axis=1)
        values[rows] = ious.max(axis=1)
        touched = values[rows] > 0
        objects[rows[touched]] = [near[column].id for column in best[touched]]
        areas[rows[touched]] = [near[column].area for column in best[touched]]
    return objects, values, areas


def _with_boxes(records: pd.DataFrame, boxes: Detections | None) -> pd.DataFrame:
    """Return records with the boxes (`BOX`) of their detections: their own, those given, or NaN."""
    if "x" in records:
        right, bottom = records["x"] + records["width"], records["y"] + records["height"]
        return records.assign(left=records["x"], top=records["y"], right=right, bottom=bottom)
    if boxes is None or not len(records):
        return records.assign(**dict.fromkeys(BOX, np.nan))
    parts = []
    for image_id in records["image_id"].unique():
        found = boxes.for_image(int(image_id))
        part = pd.DataFrame(found.boxes_xyxy, columns=BOX)
        parts.append(part.assign(image_id=int(image_id), detection_id=found.detection_id))
    return records.merge(pd.concat(parts), on=["image_id", "detection_id"], how="left", validate="1:1")
