"""Random tiny data sets for average precision, and the official evaluators that say what is right."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Json = dict[str, Any]
Box = tuple[int, int, int, int]
ODD_AREAS = (0.0, 1023.5, 1024.0, 9216.0, 1e5)
"""Areas that annotations give themselves, whatever their masks: they need not agree."""
BOUNDARY_SIDES = (32, 96)
"""Squares of these sides have exactly the area at which small ends and large begins."""


class Truth(NamedTuple):
    """What an official evaluator says."""

    precision: np.ndarray
    """COCO [T, R, K, A, M], LVIS [T, R, K, A]."""
    recall: np.ndarray
    stats: dict[str, float]
    """With the evaluator's own -1 where there is nothing to score."""


@dataclass(frozen=True)
class Case:
    """One data set: an annotation file's content and the results of a model on it."""

    dataset: Json
    results: list[Json]

    def write(self, folder: Path) -> Path:
        path = folder / "annotations.json"
        path.write_text(json.dumps(self.dataset))
        return path


def encode(mask: np.ndarray) -> Json:
    """The RLE of a mask bool [H, W], its counts a string as in a results file."""
    return as_result(mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8)))


def as_result(rle: Json) -> Json:
    """An RLE of pycocotools as JSON holds it."""
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def rectangle(size: tuple[int, int], box: Box) -> np.ndarray:
    """Mask bool [H, W] of the box (x1, y1, x2, y2), ends excluded, clipped to the image."""
    x1, y1, x2, y2 = (max(end, 0) for end in box)
    mask = np.zeros(size, dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def random_case(seed: int, *, lvis: bool) -> Case:
    """Draw a data set that has, sooner or later, everything an evaluator can get wrong."""
    rng = np.random.default_rng(seed)
    categories = _categories(rng, lvis)
    category_ids = [category["id"] for category in categories]
    images = _images(rng, category_ids, lvis)
    annotations = [one for image in images for one in _annotations(rng, image, category_ids, lvis)]
    ids = rng.permutation(len(annotations)) + 1
    for annotation, identity in zip(annotations, ids, strict=True):
        annotation["id"] = int(identity)
    results = [one for image in images for one in _results(rng, image, annotations, category_ids)]
    results = [results[i] for i in rng.permutation(len(results))]
    return Case({"images": images, "annotations": annotations, "categories": categories}, results)


def _categories(rng: np.random.Generator, lvis: bool) -> list[Json]:
    ids = rng.choice(np.arange(1, 12), size=rng.integers(1, 5), replace=False)
    categories: list[Json] = [{"id": int(i), "name": f"c{i}"} for i in ids]
    for category in categories if lvis else ():
        category["frequency"] = "rcf"[rng.integers(3)]
    return categories


def _images(rng: np.random.Generator, category_ids: list[int], lvis: bool) -> list[Json]:
    ids = rng.choice(
        np.arange(1, 50), size=rng.choice([0, 1, 2, 3, 5], p=[0.04, 0.24, 0.24, 0.24, 0.24]), replace=False
    )
    images: list[Json] = []
    for image_id in ids:
        height, width = rng.integers(100, 140, size=2)
        image: Json = {"id": int(image_id), "height": int(height), "width": int(width)}
        if lvis:
            image["neg_category_ids"] = [c for c in category_ids if rng.random() < 0.5]
            image["not_exhaustive_category_ids"] = [c for c in category_ids if rng.random() < 0.3]
        images.append(image)
    return images


def _box(rng: np.random.Generator) -> Box:
    x, y, width, height = rng.integers(0, [90, 90, 60, 60])
    if rng.random() < 0.3:
        width = height = rng.choice(BOUNDARY_SIDES)
        x, y = x % 4, y % 4
    return int(x), int(y), int(x + width), int(y + height)


def _annotations(rng: np.random.Generator, image: Json, category_ids: list[int], lvis: bool) -> Iterator[Json]:
    size = image["height"], image["width"]
    for _ in range(rng.integers(0, 6)):
        box = _box(rng)
        segmentation: Any = encode(rectangle(size, box))
        area = float(mask_utils.area(segmentation))
        if rng.random() < 0.25:
            corners = rng.uniform(-20, 150, size=(rng.integers(1, 3), 2 * rng.integers(3, 7)))
            segmentation = np.round(2 * corners, 1).tolist()
        if rng.random() < 0.2:
            area = float(rng.choice(ODD_AREAS))
        annotation = {
            "image_id": image["id"],
            "category_id": int(rng.choice(category_ids)),
            "segmentation": segmentation,
            "area": area,
            "box_xyxy": box,
        }
        yield annotation if lvis else annotation | {"iscrowd": int(rng.random() < 0.2)}


def _results(rng: np.random.Generator, image: Json, annotations: list[Json], category_ids: list[int]) -> Iterator[Json]:
    here = [one for one in annotations if one["image_id"] == image["id"]]
    coarse = rng.random() < 0.5
    for _ in range(rng.integers(0, 12)):
        box, category = _box(rng), int(rng.choice(category_ids))
        if here and rng.random() < 0.7:
            source = here[rng.integers(len(here))]
            x1, y1, x2, y2 = (source["box_xyxy"] + rng.integers(-3, 4, size=4) * (rng.random() < 0.7)).tolist()
            box, category = (x1, y1, x2, y2), source["category_id"]
        yield {
            "image_id": image["id"],
            "category_id": category,
            "segmentation": encode(rectangle((image["height"], image["width"]), box)),
            "score": float(rng.integers(0, 4)) / 4 if coarse else float(rng.random()),
        }


def perfect_results(path: Path) -> list[Json]:
    """The ground truth of an annotation file as results, crowds left out, with scores that all differ."""
    truth = _open_coco(path)
    objects = [one for one in truth.dataset["annotations"] if not one.get("iscrowd")]
    return [
        {
            "image_id": one["image_id"],
            "category_id": one["category_id"],
            "segmentation": as_result(truth.annToRLE(one)),
            "score": 1 - i / (len(objects) + 1),
        }
        for i, one in enumerate(objects)
    ]


def imperfect_results(path: Path, seed: int) -> list[Json]:
    """What a detector might say: shifted masks, misses, wrong classes, false alarms, ties."""
    rng = np.random.default_rng(seed)
    perfect = perfect_results(path)
    classes = sorted({one["category_id"] for one in perfect})
    results = []
    for one in perfect:
        for _ in range(rng.integers(0, 4)):
            mask = np.roll(mask_utils.decode(one["segmentation"]), rng.integers(-6, 7, size=2), axis=(0, 1))
            category = one["category_id"] if rng.random() < 0.8 else int(rng.choice(classes))
            score = round(float(rng.random()), 2)
            results.append(one | {"segmentation": encode(mask), "category_id": category, "score": score})
    return results


def _open_coco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def coco_truth(path: Path, results: list[Json], image_ids: list[int] | None = None) -> Truth:
    """Ask pycocotools; it cannot load an empty list, so that case is set up by hand."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        if results:
            detections = truth.loadRes(copy.deepcopy(results))
        else:
            detections = COCO()
            detections.dataset = {**truth.dataset, "annotations": []}
            detections.createIndex()
        evaluator = COCOeval(truth, detections, "segm")
        if image_ids is not None:
            evaluator.params.imgIds = sorted(image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    keys = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    stats = {key: float(value) for key, value in zip(keys, evaluator.stats, strict=True)}
    return Truth(evaluator.eval["precision"], evaluator.eval["recall"], stats)


def lvis_truth(path: Path, results: list[Json]) -> Truth:
    """Ask lvis 0.5.3, which needs the np.float that numpy took away, and cannot load an empty list either."""
    logging.getLogger("lvis").setLevel(logging.ERROR)
    truth = LVIS(str(path))
    if results:
        detections = LVISResults(truth, copy.deepcopy(results))
    else:
        detections = LVISResults.__new__(LVISResults)
        detections.logger = logging.getLogger("lvis")
        detections.dataset = {**truth.dataset, "annotations": []}
        detections._create_index()
    evaluator = LVISEval(truth, detections, "segm")
    with mock.patch.object(np, "float", float, create=True):
        evaluator.run()
    keys = ["AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf", "AR300", "ARs", "ARm", "ARl"]
    stats = {key: float(value) for key, value in zip(keys, evaluator.get_results().values(), strict=True)}
    return Truth(evaluator.eval["precision"], evaluator.eval["recall"], stats)
