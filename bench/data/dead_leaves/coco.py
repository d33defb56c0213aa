"""Scenes as COCO instances: categories are leaf shapes, parts are a category, swarms are crowds.

The file itself is made of named objects, whatever names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

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


class Named(NamedTuple):
    """An object of a scene."""

    number: int
    """In its scene; 0 for a crowd."""
    category_id: int
    mask: np.ndarray
    """bool [SIZE, SIZE]."""
    iscrowd: int = 0


def instances(scenes: list[Scene]) -> dict[str, Any]:
    """Return the content of instances_val2017.json."""
    return content([list(_named(scene)) for scene in scenes], [*SHAPE_NAMES, "part"])


def content(scenes: Sequence[Sequence[Named]], names: Sequence[str]) -> dict[str, Any]:
    """Return the content of instances_val2017.json of scenes' objects; `names` are those of categories 1, 2, ..."""
    return {
        "info": {"description": "dead leaves", "version": "1"},
        "licenses": [],
        "images": [{"id": i + 1, "file_name": file_name(i), "height": SIZE, "width": SIZE} for i in range(len(scenes))],
        "annotations": [
            {**annotation(one, image_id), "iscrowd": one.iscrowd}
            for image_id, scene in enumerate(scenes, start=1)
            for one in scene
        ],
        "categories": [{"id": k, "name": name, "supercategory": "leaf"} for k, name in enumerate(names, start=1)],
    }


def annotation(one: Named, image_id: int) -> dict[str, Any]:
    """Return one object as COCO and LVIS write it, with its exact mask as compressed runs."""
    return {
        "id": image_id * _OBJECTS_A_SCENE + one.number,
        "image_id": image_id,
        "category_id": one.category_id,
        **_mask_fields(one.mask),
    }


def _named(scene: Scene) -> Iterator[Named]:
    for number in scene.objects():
        leaf = scene.leaves[number - 1]
        yield Named(number, PART_CATEGORY if leaf.parent else leaf.shape + 1, scene.mask(number))
    swarm = [number for number, leaf in enumerate(scene.leaves, start=1) if leaf.crowd]
    crowd = np.isin(scene.leaf_map, swarm)
    if crowd.any():
        yield Named(0, scene.leaves[swarm[0] - 1].shape + 1, crowd, iscrowd=1)


def _mask_fields(mask: np.ndarray) -> dict[str, Any]:
    """Return segmentation, area and bbox (xywh) of a mask bool [H, W]."""
    runs = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "segmentation": {"size": [SIZE, SIZE], "counts": runs["counts"].decode("ascii")},
        "area": int(mask.sum()),
        "bbox": [int(value) for value in rle.toBbox(runs)],
    }
