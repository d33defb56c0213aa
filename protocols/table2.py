"""Table 2: box and mask AP on COCO of ViTDet detectors by the pretraining of their backbone (section 4.2)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pycocotools import mask as rle

from bench.data import Detections, ImageInfo, Instances, is_published_set
from bench.data.dead_leaves.detection import detection_root as micro_root
from bench.data.instances import open_instances
from bench.metrics.ap import coco_ap, coco_box_ap
from bench.metrics.interval import Interval
from bench.metrics.random_effects import RandomEffectsMean
from models.errors import BenchError
from protocols.comparisons import Sampled, claim_notes, of_statistics, over_seeds, seed_notes
from protocols.data_set import DataSet
from protocols.masks_file import predictions_of
from protocols.measured import Measured
from protocols.plan import Plan
from protocols.results import Column, Comparison
from protocols.saved_predictions import Recordings, read_recordings
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.shards import asked_about, records_of
from protocols.watched import Mask, Number, Watched

__all__ = ["micro_root"]

# What these settings mean is said in protocols.tables.Table.
NAME = "table2"
VERSION = 1
TITLE = "Object detection and instance segmentation, box and mask AP on COCO (Table 2)"
COLUMNS = (Column("ap_box", "AP box", "COCO"), Column("ap_mask", "AP mask", "COCO"))
TASK = "image-segmentation"
DATA_SETS = ("coco",)
TAKES = frozenset({"scale", "models", "checkpoint", "limit", "device"})
ASK = "protocols.table2:ask"
CARDS = "models.vitdet.cards"
MODELS = "detector"
PHOTOS = "coco/val2017"
WORLDS = {
    "paper": "COCO val2017 of BENCH_DATA and full-size detectors",
    "micro": "dead leaves as COCO at 256 px and micro detectors",
}
CONTROLS = ("vitdet-scratch-ti-micro",)
COMPARED = (
    ("SAMI-Ti", "MAE-Ti"),
    ("SAMI-Ti", CONTROLS[0]),
    ("MAE-Ti", CONTROLS[0]),
    ("SAMI-S", "MAE-S"),
    ("SAMI-B", "MAE-B"),
    ("SAMI-S", "DeiT-S"),
    ("SAMI-S", "DINO-S"),
    ("SAMI-S", "iBOT-S"),
)
LIMITED = "the first {:,} images"
EXACT = True
IMAGES_A_SHARD = 16
WATCHED = Watched(
    what="detections",
    key=("image_id", "category_id"),
    values=(
        Mask("image_height", "image_width", moved=0.01),
        Number("score", 0.005, "score"),
        *(Number(side, 0.25, "box, px") for side in ("x", "y", "width", "height")),
    ),
    ranked_by="score",
    best=8,
)
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


def open_data(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open the photos of a plan."""
    return data_set(open_instances("coco", plan.root), settings.limit)


def data_set(instances: Instances, limit: int | None) -> DataSet:
    """Return what every detector is asked: what is in the photos of a data set, or in its first ones."""
    images = instances.images[:limit]
    return DataSet(
        name=instances.name,
        source=instances,
        sha256=instances.sha256,
        truth={"sha256": instances.sha256},
        asked=asked_about(images),
        of_images=len(instances.images),
        published="the published set" if is_published_set(instances) and len(images) == len(instances.images) else "",
    )


def check_classes(model: Any, instances: Instances) -> None:
    """Raise a BenchError if a detector knows more or fewer classes than the data set has categories."""
    if model.classes != len(instances.categories):
        raise BenchError(
            f"model '{model.name}' knows {model.classes} classes, {instances.annotation_path} has "
            f"{len(instances.categories)} categories: use a detector that was trained for them"
        )


def ask(model: Any, data: DataSet, images: Sequence[ImageInfo], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return a record for each detection in some photos, and one for each photo that cannot be read.

    Args:
        model: a detector of `models.vitdet.cards`, or a file of masks.
        data: see `data_set`.
        images: some of its images.
        advance: told of photos as they are done.

    Raises:
        BenchError: if the detector knows more or fewer classes than the data set has categories.
        MissingData: if a file of masks cannot be scored on these data.
    """
    instances: Instances = data.source
    if (given := predictions_of(model, data)) is not None:
        return records_of(images, RECORD_TYPES, lambda info, _: predicted_records(info, given), advance)
    check_classes(model, instances)
    category_ids = sorted(instances.categories)

    def detections(info: ImageInfo, photo: np.ndarray) -> Iterator[dict[str, object]]:
        return _records(model.detect([photo])[0], info, category_ids)

    return records_of(images, RECORD_TYPES, detections, advance)


def _records(found: Any, info: ImageInfo, category_ids: Sequence[int]) -> Iterator[dict[str, object]]:
    for box, score, label, mask in zip(
        found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), found.masks, strict=True
    ):
        x1, y1, x2, y2 = box
        yield {
            "image_id": info.id,
            "category_id": category_ids[label - 1],
            "score": score,
            "x": x1,
            "y": y1,
            "width": x2 - x1,
            "height": y2 - y1,
            "image_height": info.height,
            "image_width": info.width,
            "counts": rle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii"),
        }


def predicted_records(info: ImageInfo, given: Detections) -> Iterator[dict[str, object]]:
    """Yield a record for each prediction of a file about a photo; a box that it lacks is that of the mask."""
    found = given.for_image(info.id)
    for index, mask in enumerate(given.masks_for_image(info.id)):
        x1, y1, x2, y2 = found.boxes_xyxy[index].tolist()
        yield {
            "image_id": info.id,
            "category_id": int(found.category_id[index]),
            "score": float(found.scores[index]),
            "x": x1,
            "y": y1,
            "width": x2 - x1,
            "height": y2 - y1,
            "image_height": mask.size[0],
            "image_width": mask.size[1],
            "counts": mask.counts,
        }


def saved(data: DataSet, settings: Settings) -> Recordings:
    """Return what models answered when they were trained, about the images that are asked."""
    return read_recordings(NAME, VERSION, data_sha256=data.sha256, image_ids=data.asked.ids, folder=settings.records)


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


def score(run: CellRun, data: DataSet) -> Scores:
    """Return box and mask AP in 0..1 with their intervals over the images that were asked."""
    boxes, masks = to_results(run.records)
    path = data.source.annotation_path
    basis = {
        "ap_box": coco_box_ap(path, boxes, replicates=REPLICATES, image_ids=run.image_ids),
        "ap_mask": coco_ap(path, masks, replicates=REPLICATES, image_ids=run.image_ids),
    }
    return Scores({key: result.intervals["AP"] for key, result in basis.items()}, basis)


def sampled(scores: Scores) -> dict[str, Sampled]:
    """Return each AP with its bootstrap samples."""
    return {
        key: Sampled(result.stats["AP"], result.draws["AP"], len(result.image_ids))
        for key, result in scores.basis.items()
    }


def over_trainings(first: Sequence[Scores], second: Sequence[Scores], column: str) -> RandomEffectsMean:
    """Return the difference of a column, first - second, over trainings of both."""
    return of_statistics([sampled(one)[column] for one in first], [sampled(one)[column] for one in second])


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of each AP, first - second, over the same images."""
    return {key: first.basis[key].difference(second.basis[key])["AP"] for key in first.basis}


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the trainings that both rows have, if several, else over images."""
    return over_seeds(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say what was asked and left out, and what the paper's text claims."""
    runs = measured.runs
    if runs:
        yield "detections: " + ", ".join(f"{row} {len(of_seed[0].records):,}" for row, of_seed in runs.items())
        yield from (f"left out {why}" for why in next(iter(runs.values()))[0].skipped.values())
    yield from (str(problem) for problem in measured.data.source.problems)
    yield from claim_notes(NAME)
    yield from seed_notes(COLUMNS, measured.scores)
