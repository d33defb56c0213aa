"""Table 5: instance segmentation from a detector's boxes, mask AP on COCO and LVIS (section 4.4).

How records are made is protocols/instance.py; this is what they mean.
"""

from __future__ import annotations

import pandas as pd

from bench.data import Instances
from bench.metrics.ap import coco_ap, lvis_ap
from bench.metrics.interval import Interval
from protocols.axes import Axes
from protocols.results import Column
from protocols.scores import CellRun, Scores

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


def to_results(records: pd.DataFrame, axes: Axes) -> list[dict[str, object]]:
    """Return records in COCO's results format, without boxes, so that areas are the masks'."""
    scores = records["detector_score"]
    if axes.score == "detector_x_predicted_iou":
        scores = scores * records["predicted_iou"]
    return [
        {
            "image_id": row["image_id"],
            "category_id": row["category_id"],
            "segmentation": {"size": [row["height"], row["width"]], "counts": row["counts"]},
            "score": value,
        }
        for row, value in zip(records.to_dict("records"), scores.tolist(), strict=True)
    ]


_AP = {"coco": coco_ap, "lvis": lvis_ap}
_STATS = {"ap": "AP", "ap_s": "APs", "ap_m": "APm", "ap_l": "APl"}


def score(run: CellRun, instances: Instances, axes: Axes) -> Scores:
    """Return AP, AP_S, AP_M and AP_L in 0..1 with their intervals over the images that were asked."""
    result = _AP[instances.name](
        instances.annotation_path,
        to_results(run.records, axes),
        replicates=REPLICATES,
        image_ids=run.image_ids,
    )
    return Scores({key: result.intervals[stat] for key, stat in _STATS.items()}, result)


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each AP, first - second, over the same images."""
    differences = first.basis.difference(second.basis)
    return {key: differences[stat] for key, stat in _STATS.items()}


def footnotes(run: CellRun, instances: Instances, axes: Axes) -> list[str]:
    """Say how many detections were asked."""
    return [f"{instances.name.upper()}: {len(run.records):,} boxes in {len(run.image_ids):,} images"]
