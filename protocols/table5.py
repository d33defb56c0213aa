"""Table 5: instance segmentation from a detector's boxes, mask AP on COCO and LVIS (section 4.4).

How records are made is protocols/table5_prompts.py; this is what they mean.
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
VERSION = 2
"""Changes when scoring or prompting changes."""
TITLE = "Zero-shot instance segmentation from detected boxes, mask AP (Table 5)"
DATA_SETS = ("coco", "lvis")
METRICS = {"ap": "AP", "ap_s": "AP_S", "ap_m": "AP_M", "ap_l": "AP_L"}
COLUMNS = tuple(
    Column(f"{data_set}_{key}", label, data_set.upper()) for data_set in DATA_SETS for key, label in METRICS.items()
)
MATTERS = dict.fromkeys(METRICS, ("mask_pick", "refinement", "score", "detection_cap", "clip_boxes"))
"""Axes that decide what a column measures: only where all are the paper's is it compared with the paper's."""
MOST_DETECTIONS = {"coco": 1000, "lvis": 300}
"""Detections of an image that are asked, the best. On COCO the evaluator counts the best 100 of each category
(pycocotools), so this bound is ours; on LVIS it counts the best 300 of all (lvis)."""
BEST_OF_IMAGE = 100
"""Detections of an image that are asked where the cap is over all categories (`Axes.detection_cap`)."""
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


def most_detections(data_set: str, axes: Axes) -> int:
    """Return how many detections of an image are asked, the best of all categories together."""
    of_image = data_set == "coco" and axes.detection_cap == "image"
    return BEST_OF_IMAGE if of_image else MOST_DETECTIONS[data_set]


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
    """Say how many detections were asked, and at most how many of an image."""
    most = most_detections(instances.name, axes)
    asked = f"{len(run.records):,} boxes in {len(run.image_ids):,} images"
    return [f"{instances.name.upper()}: {asked}, the best {most:,} of an image at most"]
