"""Table 5: instance segmentation from a detector's boxes, mask AP on COCO and LVIS (section 4.4).

How records are made is protocols/table5_prompts.py; this is what they mean.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from bench.data import is_published_boxes, is_published_set, open_detections
from bench.data.catalog import BOX_SETS, InstanceSet, missing
from bench.data.dead_leaves.detection import detection_root as micro_root
from bench.metrics.ap import coco_ap, lvis_ap
from bench.metrics.interval import Interval
from models.errors import BenchError
from protocols.axes import Axes, most_detections
from protocols.comparisons import Sampled, over_images
from protocols.data_set import DataSet
from protocols.instance_sets import TAKES as ALWAYS_TAKES
from protocols.instance_sets import WORLDS, data_notes, open_instance_set
from protocols.masks_file import is_masks_file
from protocols.measured import Measured
from protocols.plan import Plan
from protocols.prompts.box_files import write_recorded_boxes
from protocols.prompts.jittered_boxes import jittered_detections
from protocols.results import Column, Comparison
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.watched import Mask, Watched

__all__ = ["WORLDS", "micro_root"]

# What these settings mean is said in protocols.tables.Table.
NAME = "table5"
VERSION = 2
TITLE = "Zero-shot instance segmentation from detected boxes, mask AP (Table 5)"
TAKES = ALWAYS_TAKES | {"boxes"}
DATA_SETS = ("coco", "lvis")
METRICS = {"ap": "AP", "ap_s": "AP_S", "ap_m": "AP_M", "ap_l": "AP_L"}
COLUMNS = tuple(
    Column(f"{data_set}_{key}", label, data_set.upper()) for data_set in DATA_SETS for key, label in METRICS.items()
)
_ALWAYS = ("mask_pick", "refinement", "score", "detection_cap", "clip_boxes")
MATTERS = {f"coco_{key}": _ALWAYS for key in METRICS} | {f"lvis_{key}": (*_ALWAYS, "lvis_images") for key in METRICS}
ASKED_WITH = ("mask_pick", "refinement", "clip_boxes", "detection_cap", "precision")
SCORED_WITH = ("score",)
ASK = "protocols.table5_prompts:ask"
CARDS = "protocols.promptable"
MODELS = "model"
MIXED = True
COMPARED = (
    ("SAM", "EfficientSAM-S"),
    ("EfficientSAM-S", "EfficientSAM-Ti"),
    ("EfficientSAM-Ti", "MobileSAM"),
    ("EfficientSAM-S", "MobileSAM"),
    ("EfficientSAM-Ti", "FastSAM"),
    ("EfficientSAM-S", "FastSAM"),
)
EXACT = True
IMAGES_A_SHARD = 16
WATCHED = Watched(
    what="detections",
    key=("image_id", "detection_id"),
    values=(Mask("height", "width", moved=0.01),),
    best=8,
    best_by="detector_score",
)
LIMITED = "the first {:,} images of each data set"
_COPIED_FASTSAM = (
    "the paper copied this row from the FastSAM paper; boxes snap to the border before they crop masks, as in its code"
)
NOTES = {
    "ViTDet-H": "the paper copied this row from the SAM paper (cascade ViTDet-H)",
    "SAM": "the paper copied this row from the SAM paper, which adds a refinement pass",
    "FastSAM": _COPIED_FASTSAM,
}
KEPT = {"coco": 100, "lvis": 300}
"""Detections of an image that detectors keep: `test_topk_per_image` of detectron2's configs of ViTDet."""
REPLICATES = 500
"""Bootstrap replicates of AP; it costs more than a mean."""


def count_prompts(published: InstanceSet, axes: Axes) -> int:
    """Return how many boxes a model is asked about a whole published set if each image has as many as detectors keep.

    The count of a published box file is not published.
    """
    kept = min(KEPT[published.name], most_detections(published.name, axes))
    return published.n_images * (1 + axes.refinement) * kept


def note(label: str) -> str:
    """Return what a reader of the paper's numbers must know about its row."""
    return NOTES.get(label, "")


def open_data(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open COCO or LVIS with a detector's boxes; where there is no detector's file, boxes are jittered truths.

    Where files of masks alone are scored, no boxes are needed.

    Raises:
        MissingData: if the data are not there, or published data lack their boxes.
    """
    words = ""
    if plan.data_scale == "micro":
        words = f"boxes: {write_recorded_boxes(plan.root) or 'see below'}"
    data = open_instance_set(name, plan, settings)
    if plan.subjects and all(is_masks_file(subject.model) for subject in plan.subjects):
        return data
    path = plan.root / BOX_SETS[f"{name}-boxes"].file
    if settings.boxes is not None:
        boxes = open_detections(settings.boxes, "mend it, it must be a COCO results file")
    elif settings.data is None and path.is_file():
        boxes = open_detections(path)
    elif settings.data is None and is_published_set(data.source):
        own = f"or make it with `bench detect vitdet-h --data {name}`"
        raise missing(path, plan.root, (BOX_SETS[f"{name}-boxes"].download,), or_else=own)
    else:
        boxes = jittered_detections(data.source, list(data.asked.images))
    return replace(
        data,
        truth={**data.truth, "boxes": boxes.sha256},
        boxes=boxes,
        published=data.published if is_published_boxes(boxes) else "",
        words=words,
    )


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


def score(run: CellRun, data: DataSet) -> Scores:
    """Return AP, AP_S, AP_M and AP_L in 0..1 with their intervals over the images that were asked."""
    result = _AP[data.name](
        data.source.annotation_path,
        to_results(run.records, data.chosen),
        replicates=REPLICATES,
        image_ids=run.image_ids,
    )
    return Scores({f"{data.name}_{key}": result.intervals[stat] for key, stat in _STATS.items()}, (data.name, result))


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each AP, first - second, over the same images."""
    name, result = first.basis
    differences = result.difference(second.basis[1])
    return {f"{name}_{key}": differences[stat] for key, stat in _STATS.items()}


def resampled(scores: Scores, image_ids: Sequence[int]) -> dict[str, Sampled]:
    """Return each AP with its bootstrap samples over these images; see `protocols.tables.Table`.

    Raises:
        BenchError: if it was scored on other images: the samples of two AP are paired where their images are the same.
    """
    name, result = scores.basis
    if tuple(sorted(image_ids)) != result.image_ids:
        raise BenchError("AP on some of the images and AP on all of them cannot be paired: leave lvis_images as it is")
    return {
        f"{name}_{key}": Sampled(
            result.stats[stat], result.draws[stat], len(result.image_ids), lopsided=True, n=result.n_detections
        )
        for key, stat in _STATS.items()
    }


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the same images."""
    return over_images(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say how many detections were asked, at most how many of an image, and whose they are."""
    data, name = measured.data, measured.data.label
    most = most_detections(data.name, data.chosen)
    for run in [of_seed[0] for of_seed in measured.runs.values()][:1]:
        asked = f"{len(run.records):,} boxes in {len(run.image_ids):,} images"
        yield f"{name}: {asked}, the best {most:,} of an image at most"
        yield from (f"{name}: left out {why}" for why in run.skipped.values())
    if data.boxes is None:
        yield from data_notes(data)
        return
    lost = int(sum(max(0, count - most) for count in data.boxes.counts(list(data.asked.ids))))
    if lost:
        yield f"{name}: {lost:,} further detections were not asked"
    yield f"{name}: boxes are {data.boxes.name}"
    yield from data_notes(data)
    yield from (f"{name}: {odd}" for odd in data.boxes.strangers(data.source))
