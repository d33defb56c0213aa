"""Dead leaves as ADE20K: each pixel's class is the texture of its leaf, or the ground between leaves.

The published layout, `ade20k/{images,annotations}/validation`, under the user's cache, rendered once; to train on,
arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.ade20k import reduced
from bench.data.dead_leaves.crowded import check_published
from bench.data.dead_leaves.files import drawn, rendered, whole_or_not_at_all
from bench.data.dead_leaves.imagenet import LABELLED, OBJECT_TEXTURES, legible_paint, upright
from bench.data.dead_leaves.scene import SIZE, Canvas, Placement, finish, paint_calm
from bench.data.dead_leaves.shapes import SHAPE_NAMES, TEXTURE_NAMES
from bench.data.dead_leaves.training import drawn_arrays
from bench.draws import Draws

LEAVES = (4, 8)
"""Fewest leaves of a class, and one more than the most."""
RADII = (40.0, 90.0)
"""Their smallest and largest radius, px: five to eleven patches across."""
CLUTTER, CLUTTER_RADII = 3, (10.0, 20.0)
"""Small leaves of any kind behind them, radius in px: label 0, as ADE20K's objects of no class."""
NAMES = (*OBJECT_TEXTURES, "ground")
"""Names of the labels 1, 2, ... Textures alone: their sixteen pairings with shapes, which dead leaves as ImageNet have,
take more images to learn than two cores can show in minutes (classification loss 2.1 after 900 steps, chance 2.8)."""

TRAINING_SEED, VAL_SEED = 23, 22
"""Worlds of the images to train on and of those held out; no other kind of scene has these seeds."""
VAL_IMAGES = 300
ADE20K_SHA256 = "2a025164eadbf83dfb782ebead0ecb551291799f7d4b1d3938951b778a822aae"
"""Hash of the held-out images and label maps, the same on every machine."""


@dataclass(frozen=True)
class LabelledScenes:
    """Memory-mapped images with label maps; `scenes[i]` is (uint8 [SIZE, SIZE, 3], uint8 [SIZE, SIZE])."""

    images: np.ndarray
    """uint8 [N, SIZE, SIZE, 3]."""
    labels: np.ndarray
    """uint8 [N, SIZE, SIZE] as drawn: 0 other, 1, 2, ... as NAMES."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Return an image and its classes, from 0; label 0 is ignored (`bench.data.ade20k.IGNORED`)."""
        return self.images[index], reduced(self.labels[index])


def draw_labelled_scene(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw image `index` of the world `seed`, uint8 [SIZE, SIZE, 3], and its labels uint8 [SIZE, SIZE].

    The same bytes on every machine. Leaves stand upright and have legible textures, as those of dead leaves as
    ImageNet.
    """
    draws = Draws(seed, index)
    canvas = paint_calm(draws, CLUTTER, CLUTTER_RADII)
    label_of = np.zeros(256, dtype=np.uint8)  # by number of the leaf; clutter stays 0
    label_of[0] = len(NAMES)  # the ground
    for _ in range(draws.integer(*LEAVES)):
        shape, texture = divmod(draws.integer(0, len(LABELLED.shapes) * len(OBJECT_TEXTURES)), len(OBJECT_TEXTURES))
        label_of[_add_leaf(draws, canvas, shape, texture)] = texture + 1
    return finish(draws, canvas.image), label_of[canvas.leaf_map]


def _add_leaf(draws: Draws, canvas: Canvas, shape: int, texture: int) -> int:
    """Paint a leaf over what is there and return its number."""
    x, y = (draws.uniforms(2) * SIZE).tolist()
    radius, aspect = draws.uniform(*RADII), draws.uniform(*LABELLED.aspects)
    place = Placement(x, y, radius, aspect, upright(draws))
    paint = legible_paint(draws, TEXTURE_NAMES.index(OBJECT_TEXTURES[texture]), radius)
    return canvas.add(draws, place, SHAPE_NAMES.index(LABELLED.shapes[shape]), paint=paint)


def ade20k_root() -> Path:
    """Return the folder that holds ade20k/ of the dead leaves, rendering it first (seconds, 40 MB).

    Raises:
        BenchError: if this machine draws other pixels than the published hash says.
    """
    return rendered(f"ade20k-{ADE20K_SHA256[:12]}", render_ade20k)


def render_ade20k(root: Path) -> None:
    """Draw the held-out images and write them under `root` as ADE20K is laid out, whole or not at all."""
    digest = hashlib.sha256()
    with whole_or_not_at_all(root) as unfinished:
        top = unfinished / "ade20k"
        images, annotations = top / "images" / "validation", top / "annotations" / "validation"
        images.mkdir(parents=True)
        annotations.mkdir(parents=True)
        for number, (image, labels) in enumerate(drawn(partial(draw_labelled_scene, VAL_SEED), VAL_IMAGES), start=1):
            digest.update(image.tobytes() + labels.tobytes())
            Image.fromarray(image).save(images / f"ADE_val_{number:08d}.png", compress_level=1)
            Image.fromarray(labels).save(annotations / f"ADE_val_{number:08d}.png")
        (top / f"objectInfo{len(NAMES)}.txt").write_text("".join(_object_info()))
        check_published(digest.hexdigest(), ADE20K_SHA256)


def _object_info() -> Iterator[str]:
    """Yield the lines of ADE20K's list of classes; its columns of shares are left empty."""
    yield "Idx\tRatio\tTrain\tVal\tStuff\tName\n"
    for number, name in enumerate(NAMES, start=1):
        yield f"{number}\t\t\t\t{int(name == 'ground')}\t{name}\n"


def labelled_scenes(count: int) -> LabelledScenes:
    """Open `count` images to train on, drawing them into the cache first (8 ms and 0.26 MB an image).

    Raises:
        BenchError: if the cache has images that this version would draw otherwise.
    """
    draw = partial(draw_labelled_scene, TRAINING_SEED)
    kinds = {"images": ((SIZE, SIZE, 3), np.uint8), "labels": ((SIZE, SIZE), np.uint8)}
    return LabelledScenes(*drawn_arrays(f"ade20k-textures-{count}", count, draw, kinds))
