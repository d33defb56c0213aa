"""Dead leaves to detect: calm scenes of legible leaves that stand upright, as COCO and LVIS; to train on, arrays.

In the crowded scenes that promptable models are asked about, a micro detector finds objects but cannot name them: a
thousand steps taught it parts from leaves and nothing else. Here a class is a texture, as in dead leaves as ADE20K:
sixteen pairs of shape and texture took more images to tell apart than two cores can show in minutes. LVIS has the same
classes, annotated class by class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.data.dead_leaves import coco, lvis
from bench.data.dead_leaves.crowded import COCO_FILE, LVIS_FILE, check_published, write_world
from bench.data.dead_leaves.files import drawn, rendered
from bench.data.dead_leaves.imagenet import LABELLED, OBJECT_TEXTURES, legible_paint, upright
from bench.data.dead_leaves.scene import SIZE, SMALLEST_VISIBLE, Placement, finish, paint_calm
from bench.data.dead_leaves.shapes import SHAPE_NAMES, TEXTURE_NAMES
from bench.data.dead_leaves.training import drawn_arrays
from bench.data.training.jitter import LabelledPhoto
from bench.draws import Draws

NAMES = OBJECT_TEXTURES
"""Names of the categories 1, 2, ..."""
WEIGHTS = tuple(1 / (rank + 3) for rank in range(len(LABELLED.shapes) * len(NAMES)))
"""How often each pair of shape and texture is drawn: the commonest six times as often as the rarest."""
LEAVES = (4, 9)
"""Fewest leaves of a scene, and one more than the most."""
RADII = (22.0, 95.0)
"""Their smallest and largest radius, px."""
CLUTTER, CLUTTER_RADII = 3, (10.0, 20.0)
"""Leaves of any kind behind them, radius in px, that are no objects."""
DETECTION_SEED, VAL_SEED = 21, 20
"""Worlds of the scenes to train on and of those held out; no other kind of scene has these seeds."""
VAL_IMAGES = 150
DETECTION_SHA256 = "9aac57b93465c94dc304f558c9fd3f58a6bd68f4bf3b22ea06da7654a1c9e651"
"""Hash of the held-out images and their objects, the same on every machine."""


class NamedScene(NamedTuple):
    """An image and its objects."""

    image: np.ndarray
    """uint8 [SIZE, SIZE, 3] RGB."""
    leaf_map: np.ndarray
    """uint8 [SIZE, SIZE]: number of the topmost leaf."""
    categories: np.ndarray
    """uint8 [256]: category of each number, 0 for those that are no object."""

    def objects(self) -> Iterator[coco.Named]:
        """Yield the objects."""
        for number in np.flatnonzero(self.categories).tolist():
            yield coco.Named(number, int(self.categories[number]), self.leaf_map == number)


def draw_named_scene(seed: int, index: int) -> NamedScene:
    """Draw scene `index` of the world `seed`; the same bytes on every machine."""
    draws = Draws(seed, index)
    canvas = paint_calm(draws, CLUTTER, CLUTTER_RADII)
    categories = np.zeros(256, dtype=np.uint8)
    for _ in range(draws.integer(*LEAVES)):
        shape, texture = divmod(draws.weighted(WEIGHTS), len(NAMES))
        x, y = (draws.uniforms(2) * SIZE).tolist()
        radius, aspect = draws.uniform(*RADII), draws.uniform(*LABELLED.aspects)
        paint = legible_paint(draws, TEXTURE_NAMES.index(NAMES[texture]), radius)
        place = Placement(x, y, radius, aspect, upright(draws))
        categories[canvas.add(draws, place, SHAPE_NAMES.index(LABELLED.shapes[shape]), paint=paint)] = texture + 1
    enough = np.bincount(canvas.leaf_map.ravel(), minlength=256) >= SMALLEST_VISIBLE
    return NamedScene(finish(draws, canvas.image), canvas.leaf_map, np.where(enough, categories, np.uint8(0)))


def detection_root() -> Path:
    """Return the folder that holds coco/ and lvis/ of the held-out scenes, rendering it first (three seconds).

    Raises:
        BenchError: if this machine draws other pixels than the published hash says.
    """
    return rendered(f"detection-val-{DETECTION_SHA256[:12]}", render_detection)


def render_detection(root: Path) -> None:
    """Draw the held-out scenes and write images and annotation files under `root`, whole or not at all."""
    scenes = list(drawn(partial(draw_named_scene, VAL_SEED), VAL_IMAGES))
    digest = hashlib.sha256()
    for array in (array for scene in scenes for array in scene):
        digest.update(array.tobytes())
    check_published(digest.hexdigest(), DETECTION_SHA256)
    objects = [list(scene.objects()) for scene in scenes]
    annotations = {COCO_FILE: coco.content(objects, NAMES), LVIS_FILE: lvis.content(objects, NAMES)}
    write_world(root, [scene.image for scene in scenes], annotations)


@dataclass(frozen=True)
class DetectionScenes:
    """Memory-mapped scenes to train on."""

    images: np.ndarray
    """uint8 [N, SIZE, SIZE, 3]."""
    maps: np.ndarray
    """uint8 [N, SIZE, SIZE]: number of the topmost leaf."""
    categories: np.ndarray
    """uint8 [N, 256]: category of each number, 0 for those that are no object."""

    def __len__(self) -> int:
        return len(self.images)

    def photo(self, index: int) -> LabelledPhoto:
        """Return a scene and its objects; labels are categories."""
        numbers = np.flatnonzero(self.categories[index])
        masks = self.maps[index] == numbers[:, None, None]
        labels = self.categories[index][numbers].astype(np.int64)
        return LabelledPhoto(np.asarray(self.images[index]), np.asarray(masks), labels)


def detection_scenes(count: int) -> DetectionScenes:
    """Open `count` training scenes of detectors, drawing them into the cache first (8 ms and 0.26 MB a scene).

    Raises:
        BenchError: if the cache has scenes that this version would draw otherwise.
    """
    draw = partial(draw_named_scene, DETECTION_SEED)
    shapes = {"images": (SIZE, SIZE, 3), "maps": (SIZE, SIZE), "categories": (256,)}
    kinds = {name: (shape, np.uint8) for name, shape in shapes.items()}
    return DetectionScenes(*drawn_arrays(f"detection-textures-{count}", count, draw, kinds))
