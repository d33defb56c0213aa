"""Dead leaves as ImageNet: one dominant leaf in the middle, whose shape and texture are the class.

The published layout, `imagenet/val/<wnid>/*`, under the user's cache, rendered once; to train on, arrays.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.dead_leaves.drawing import drawn, rendered, whole_or_not_at_all
from bench.data.dead_leaves.render import check_published
from bench.data.dead_leaves.scene import SIZE, Paint, Placement, finish, paint_leaves
from bench.data.dead_leaves.shapes import SHAPE_NAMES, TEXTURE_NAMES
from bench.data.dead_leaves.training import drawn_arrays
from bench.draws import Draws
from bench.paths import cache_dir

OBJECT_TEXTURES = ("plain", "stripes", "checks", "dots")
"""Ramps and mosaics are left out: a ramp is hard to tell from shading."""
CLASSES = tuple((shape, texture) for shape in SHAPE_NAMES for texture in OBJECT_TEXTURES)
"""(shape, texture) of each label."""
WNIDS = tuple(f"l{label:08d}_{shape}_{texture}" for label, (shape, texture) in enumerate(CLASSES))
"""Folder of each label; sorted, they are in the order of the labels."""

RADII = (70.0, 110.0)
"""Radius of the dominant leaf, px."""
OFF_CENTRE = 40.0
"""Furthest its centre is from the middle along either axis, px."""
ASPECTS = (0.7, 1.0)
PERIODS = (10.0, 20.0)
"""Period of its texture, px: several across the narrowest leaf, and wider than the camera's blur."""
COLOURS = (16.0, 200.0)
"""Range of its colours, so that shading (up to 1.3) does not saturate both."""
CONTRAST = 50.0
"""Least mean difference of its two colours over the channels; the camera's noise is within 8."""

VAL_SEED = 12
"""World of the held-out images; neither of the worlds of scenes (render.VAL_SEED, training.TRAINING_SEED)."""
TRAINING_SEED = 11
"""World of the training images."""
VAL_IMAGES = 1600
IMAGENET_SHA256 = "018d51fedde5f83d70ee791924579493005a1b0fc8201cfa48c5f83c83b85908"
"""Hash of the held-out images and labels (`objects_sha256`), the same on every machine."""


@dataclass(frozen=True)
class ObjectScenes:
    """Memory-mapped images of one dominant leaf each."""

    images: np.ndarray
    """uint8 [N, SIZE, SIZE, 3]."""
    labels: np.ndarray
    """int64 [N], indices into CLASSES."""


def draw_object_scene(seed: int, index: int) -> tuple[np.ndarray, int]:
    """Draw image `index` of the world `seed`, uint8 [SIZE, SIZE, 3], and its label; the same bytes on every machine.

    Labels take turns, so any run of 32 images has every class once.
    """
    label = index % len(CLASSES)
    shape, texture = CLASSES[label]
    draws = Draws(seed, index)
    canvas = paint_leaves(draws)
    x, y = (SIZE / 2 + (2 * draws.uniforms(2) - 1) * OFF_CENTRE).tolist()
    place = Placement(x, y, draws.uniform(*RADII), draws.uniform(*ASPECTS), draws.direction())
    paint = _legible_paint(draws, TEXTURE_NAMES.index(texture), place.radius)
    canvas.add(draws, place, SHAPE_NAMES.index(shape), paint=paint)
    return finish(draws, canvas.image), label


def _legible_paint(draws: Draws, texture: int, radius: float) -> Paint:
    """Draw two colours that differ visibly, and a period."""
    low, high = COLOURS
    while True:
        first, second = low + (high - low) * draws.uniforms(6).reshape(2, 3)
        if np.abs(first - second).mean() >= CONTRAST:
            return Paint(texture, first, second, draws.uniform(*PERIODS) / radius)


def imagenet_root() -> Path:
    """Return the folder that holds imagenet/val of the dead leaves, rendering it first (half a minute, 0.2 GB).

    Raises:
        BenchError: if this machine draws other pixels than the published hash says.
    """
    return rendered(f"imagenet-{IMAGENET_SHA256[:12]}", render_imagenet)


def render_imagenet(root: Path) -> None:
    """Draw the held-out images and write them under `root`, whole or not at all."""
    digest = hashlib.sha256()
    with whole_or_not_at_all(root) as unfinished:
        folders = [unfinished / "imagenet" / "val" / wnid for wnid in WNIDS]
        for folder in folders:
            folder.mkdir(parents=True)
        for index, (image, label) in enumerate(drawn(_draw_held_out, VAL_IMAGES)):
            digest.update(image.tobytes() + bytes([label]))
            Image.fromarray(image).save(folders[label] / f"{index:08d}.png", compress_level=1)
        check_published(digest.hexdigest(), IMAGENET_SHA256)


def imagenet_training(count: int) -> ObjectScenes:
    """Open `count` training images, drawing them into the cache first (13 ms and 0.2 MB an image).

    Raises:
        BenchError: if the cache has images that this version would draw otherwise.
    """
    folder = cache_dir() / "dead_leaves" / f"imagenet-train-{count}"
    kinds = {"images": ((SIZE, SIZE, 3), np.uint8), "labels": ((), np.int64)}
    images, labels = drawn_arrays(folder, count, _draw_training, kinds)
    return ObjectScenes(images, labels)


def _draw_held_out(index: int) -> tuple[np.ndarray, int]:
    return draw_object_scene(VAL_SEED, index)


def _draw_training(index: int) -> tuple[np.ndarray, np.ndarray]:
    image, label = draw_object_scene(TRAINING_SEED, index)
    return image, np.array(label)
