"""Scenes as COCO instances: categories are leaf shapes, parts are a category, swarms are crowds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pycocotools import mask as rle

from bench.data.dead_leaves.scene import SIZE, Scene
from bench.data.dead_leaves.shapes import SHAPE_NAMES

PART_CATEGORY = len(SHAPE_NAMES) + 1
_OBJECTS_A_SCENE = 1000
"""Annotation ids are image id x 1000 + the object's number, so they tell where an object is."""


def file_name(index: int) -> str:
    """Return the image file of scene `index`; image ids count from 1."""
    return f"{index + 1:012d}.png"


def instances(scenes: list[Scene]) -> dict[str, Any]:
    """Return the content of instances_val2017.json."""
    names = [*SHAPE_NAMES, "part"]
    return {
        "info": {"description": "dead leaves", "version": "1"},
        "licenses": [],
        "images": [{"id": i + 1, "file_name": file_name(i), "height": SIZE, "width": SIZE} for i in range(len(scenes))],
        "annotations": [entry for i, scene in enumerate(scenes) for entry in _annotations(scene, i + 1)],
        "categories": [{"id": k, "name": name, "supercategory": "leaf"} for k, name in enumerate(names, start=1)],
    }


def annotation(scene: Scene, image_id: int, number: int, category_id: int) -> dict[str, Any]:
    """Return one object as COCO and LVIS write it, with its exact mask as compressed runs."""
    return {
        "id": image_id * _OBJECTS_A_SCENE + number,
        "image_id": image_id,
        "category_id": category_id,
        **_mask_fields(scene.mask(number)),
    }


def _annotations(scene: Scene, image_id: int) -> Iterator[dict[str, Any]]:
    for number in scene.objects():
        leaf = scene.leaves[number - 1]
        category = PART_CATEGORY if leaf.parent else leaf.shape + 1
        yield {**annotation(scene, image_id, number, category), "iscrowd": 0}
    swarm = [number for number, leaf in enumerate(scene.leaves, start=1) if leaf.crowd]
    crowd = np.isin(scene.leaf_map, swarm)
    if crowd.any():
        yield {
            "id": image_id * _OBJECTS_A_SCENE,
            "image_id": image_id,
            "category_id": scene.leaves[swarm[0] - 1].shape + 1,
            **_mask_fields(crowd),
            "iscrowd": 1,
        }


def _mask_fields(mask: np.ndarray) -> dict[str, Any]:
    """Return segmentation, area and bbox (xywh) of a mask bool [H, W]."""
    runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "segmentation": {"size": [SIZE, SIZE], "counts": runs["counts"].decode("ascii")},
        "area": int(mask.sum()),
        "bbox": [int(value) for value in rle.toBbox(runs)],
    }
