"""A few dead leaves that are no squares, and more boxes on each than a detector keeps: for the regression gate.

All other dead leaves are as large as the micro models' inputs, so that whether an image is squashed or padded, and how
it is resized, makes no difference there; and detectors keep 100 boxes an image, so that neither does a cap of 100.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from bench.data.dead_leaves.coco import PART_CATEGORY, file_name
from bench.data.dead_leaves.crowded import VAL_SEED
from bench.data.dead_leaves.files import rendered, whole_or_not_at_all
from bench.data.dead_leaves.scene import draw_scene
from bench.data.dead_leaves.shapes import SHAPE_NAMES
from bench.data.own import OwnData
from bench.draws import Draws

VERSION = 1
"""Changes when anything here is drawn otherwise."""
NAME = "odd-sizes"
BOXES_SEED = 31
BOXES = 120
"""Random boxes on each image, besides those of its objects."""


class Cut(NamedTuple):
    """How a scene becomes an image: its first rows and columns, each pixel several times."""

    rows: int
    columns: int
    times: int


CUTS = (Cut(256, 160, 1), Cut(120, 256, 1), Cut(200, 200, 1), Cut(97, 211, 2), Cut(250, 130, 2))


def odd_sizes() -> tuple[OwnData, Path]:
    """Return the images with their objects, and a COCO results file of boxes on them; drawn on first use."""
    root = rendered(f"{NAME}-{VERSION}", render_odd_sizes)
    return OwnData("coco", root / f"{NAME}.json", root), root / "boxes.json"


def render_odd_sizes(root: Path) -> None:
    """Draw images, objects and boxes under `root`, whole or not at all."""
    content: dict[str, Any] = {"images": [], "annotations": []}
    names = [*SHAPE_NAMES, "part"]
    content["categories"] = [{"id": k, "name": name} for k, name in enumerate(names, start=1)]
    boxes: list[dict[str, Any]] = []
    with whole_or_not_at_all(root) as unfinished:
        for index, cut in enumerate(CUTS):
            scene, number = draw_scene(VAL_SEED, index), index + 1
            Image.fromarray(_cut(scene.image, cut)).save(unfinished / file_name(index))
            size = {"height": cut.rows * cut.times, "width": cut.columns * cut.times}
            content["images"].append({"id": number, "file_name": file_name(index), **size})
            for one in scene.objects():
                leaf, mask = scene.leaves[one - 1], _cut(scene.mask(one), cut)
                if mask.any():
                    category = PART_CATEGORY if leaf.parent else leaf.shape + 1
                    content["annotations"].append(_annotation(number * 1000 + one, number, category, mask))
            objects = [one for one in content["annotations"] if one["image_id"] == number]
            boxes += _boxes(number, objects, size["height"], size["width"], len(names))
        (unfinished / f"{NAME}.json").write_text(json.dumps(content))
        (unfinished / "boxes.json").write_text(json.dumps(boxes))


def _cut(pixels: np.ndarray, cut: Cut) -> np.ndarray:
    """Return a part of [H, W, ...], enlarged."""
    return pixels[: cut.rows, : cut.columns].repeat(cut.times, 0).repeat(cut.times, 1)


def _annotation(number: int, image_id: int, category: int, mask: np.ndarray) -> dict[str, Any]:
    runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")},
        "area": int(mask.sum()),
        "bbox": [int(value) for value in rle.toBbox(runs)],
        "iscrowd": 0,
    }


def _boxes(
    image_id: int, objects: list[dict[str, Any]], height: int, width: int, categories: int
) -> Iterator[dict[str, Any]]:
    """Yield random boxes, then those of the objects, which score less: a cap of 100 an image leaves them out."""
    draws = Draws(BOXES_SEED, image_id)
    for rank in range(BOXES):
        x, y = draws.uniform(0, 0.7) * width, draws.uniform(0, 0.7) * height
        w, h = draws.uniform(0.1, 0.3) * width, draws.uniform(0.1, 0.3) * height
        category = draws.integer(1, categories + 1)
        score = 0.9 - rank / 1000
        yield {"image_id": image_id, "category_id": category, "bbox": [x, y, w, h], "score": score}
    for rank, one in enumerate(objects):
        yield {
            "image_id": image_id,
            "category_id": one["category_id"],
            "bbox": one["bbox"],
            "score": 0.5 - rank / 1000,
        }
