"""Dead leaves as COCO detection training data: scenes with instance maps and classes, drawn once into the cache."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.data.dead_leaves.coco import PART_CATEGORY
from bench.data.dead_leaves.scene import SIZE, draw_scene
from bench.data.dead_leaves.training import ArrayKinds, drawn_arrays
from bench.data.jitter import LabelledPhoto
from bench.paths import cache_dir

DETECTION_SEED = 21
"""World of these scenes: no other training and no table sees it."""
CLASSES = PART_CATEGORY
"""Leaf shapes, and parts; a label is the category id of the rendered COCO file."""


@dataclass(frozen=True)
class DetectionScenes:
    """Memory-mapped scenes with the class of each object; swarms are crowds and left out, as from COCO."""

    images: np.ndarray
    """uint8 [N, SIZE, SIZE, 3]."""
    maps: np.ndarray
    """uint8 [N, 2, SIZE, SIZE]: leaf map and part map."""
    classes: np.ndarray
    """uint8 [N, 256]: class of each object number, 0 for numbers that are no object."""

    def __len__(self) -> int:
        return len(self.images)

    def photo(self, index: int) -> LabelledPhoto:
        """Return a scene and its objects."""
        classes = self.classes[index]
        numbers = np.flatnonzero(classes)
        leaf_map, part_map = self.maps[index]
        masks = np.zeros((len(numbers), SIZE, SIZE), dtype=bool)
        for mask, number in zip(masks, numbers.tolist(), strict=True):
            mask[:] = (part_map if classes[number] == PART_CATEGORY else leaf_map) == number
        return LabelledPhoto(np.asarray(self.images[index]), masks, classes[numbers].astype(np.int64))


def _draw(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scene = draw_scene(DETECTION_SEED, index)
    classes = np.zeros(256, dtype=np.uint8)
    for number in scene.objects():
        leaf = scene.leaves[number - 1]
        classes[number] = PART_CATEGORY if leaf.parent else leaf.shape + 1
    return scene.image, np.stack([scene.leaf_map, scene.part_map]), classes


_ARRAYS: ArrayKinds = {
    "images": ((SIZE, SIZE, 3), np.uint8),
    "maps": ((2, SIZE, SIZE), np.uint8),
    "classes": ((256,), np.uint8),
}


def detection_scenes(count: int) -> DetectionScenes:
    """Open `count` training scenes of detectors, drawing them into the cache first (12 ms and 0.33 MB a scene).

    Raises:
        BenchError: if the cache has scenes that this version would draw otherwise.
    """
    folder = cache_dir() / "dead_leaves" / f"detection-{count}"
    return DetectionScenes(*drawn_arrays(folder, count, _draw, _ARRAYS))
