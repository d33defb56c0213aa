"""Table 2: box and mask AP on COCO of ViTDet detectors by the pretraining of their backbone (section 4.2).

How records are made is protocols/detection.py; this is what they mean.
"""

from __future__ import annotations

import pandas as pd

from bench.data import Instances
from bench.metrics.ap import coco_ap, coco_box_ap
from bench.metrics.interval import Interval
from protocols.results import Column
from protocols.scores import CellRun, Scores
from protocols.seeds import Sampled

NAME = "table2"
VERSION = 1
"""Changes when scoring or the detectors' input changes."""
TITLE = "Object detection and instance segmentation, box and mask AP on COCO (Table 2)"
COLUMNS = (Column("ap_box", "AP box", "COCO"), Column("ap_mask", "AP mask", "COCO"))
COMPARED = (
    ("SAMI-Ti", "MAE-Ti"),
    ("SAMI-S", "MAE-S"),
    ("SAMI-B", "MAE-B"),
    ("SAMI-S", "DeiT-S"),
    ("SAMI-S", "DINO-S"),
    ("SAMI-S", "iBOT-S"),
)
"""Pairs of rows that section 4.2 compares, (first, second)."""
REPLICATES = 500
"""Bootstrap replicates of AP."""
RECORD_TYPES = {
    "image_id": "int64",
    "category_id": "int64",
    "score": "float64",
    "x": "float64",
    "y": "float64",
    "width": "float64",
    "height": "float64",
    "image_height": "int64",
    "image_width": "int64",
    "counts": "str",
}
"""A detection: its class, score, box in px, and its mask as compressed runs."""


def to_results(records: pd.DataFrame) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Return records in COCO's results format, as boxes and as masks."""
    boxes: list[dict[str, object]] = []
    masks: list[dict[str, object]] = []
    for row in records.to_dict("records"):
        common = {key: row[key] for key in ("image_id", "category_id", "score")}
        boxes.append({**common, "bbox": [row[key] for key in ("x", "y", "width", "height")]})
        size = [row["image_height"], row["image_width"]]
        masks.append({**common, "segmentation": {"size": size, "counts": row["counts"]}})
    return boxes, masks


def score(run: CellRun, instances: Instances) -> Scores:
    """Return box and mask AP in 0..1 with their intervals over the images that were asked."""
    boxes, masks = to_results(run.records)
    basis = {
        "ap_box": coco_box_ap(instances.annotation_path, boxes, replicates=REPLICATES, image_ids=run.image_ids),
        "ap_mask": coco_ap(instances.annotation_path, masks, replicates=REPLICATES, image_ids=run.image_ids),
    }
    return Scores({key: result.intervals["AP"] for key, result in basis.items()}, basis)


def sampled(scores: Scores) -> dict[str, Sampled]:
    """Return each AP with its bootstrap samples."""
    return {
        key: Sampled(result.stats["AP"], result.draws["AP"], len(result.image_ids))
        for key, result in scores.basis.items()
    }


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each AP, first - second, over the same images."""
    return {key: first.basis[key].difference(second.basis[key])["AP"] for key in first.basis}
