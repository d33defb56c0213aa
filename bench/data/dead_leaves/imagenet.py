"""Dead leaves as ImageNet: one dominant leaf in the middle, whose shape and texture are the class.

The published layout, `imagenet/val/<wnid>/*`, under the user's cache, rendered once; to train on, arrays.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.dead_leaves.crowded import check_published
from bench.data.dead_leaves.files import drawn, rendered, whole_or_not_at_all
from bench.data.dead_leaves.scene import SIZE, Canvas, Paint, Placement, finish, paint_calm, paint_leaves
from bench.data.dead_leaves.shapes import SHAPE_NAMES, TEXTURE_NAMES
from bench.data.dead_leaves.training import drawn_arrays
from bench.draws import Draws

OBJECT_TEXTURES = ("plain", "stripes", "checks", "dots")
"""Ramps and mosaics are left out: a ramp is hard to tell from shading."""
PERIODS = (10.0, 20.0)
"""Period of the dominant leaf's texture, px: several across the narrowest leaf, and wider than the camera's blur."""
COLOURS = (16.0, 200.0)
"""Range of its colours, so that shading (up to 1.3) does not saturate both."""
CONTRAST = 50.0
"""Least mean difference of its two colours over the channels; the camera's noise is within 8."""
SLANT = 0.2
"""Largest slope of a leaf that stands upright, about 11 degrees."""


@dataclass(frozen=True)
class Setting:
    """How the dominant leaf lies and what lies behind it."""

    shapes: tuple[str, ...]
    radii: tuple[float, float]
    """Radius of the dominant leaf, px."""
    off_centre: float
    """Furthest its centre is from the middle along either axis, px."""
    aspects: tuple[float, float]
    upright: bool
    """Whether it stands as objects in photos do, or is turned at random."""
    behind: Callable[[Draws], Canvas]


LABELLED = Setting(
    shapes=("disc", "triangle", "star", "cross"),
    radii=(80.0, 115.0),
    off_centre=20.0,
    aspects=(0.8, 1.0),
    upright=True,
    behind=partial(paint_calm, leaves=4, radii=(15.0, 40.0)),
)
"""Images to finetune on and to be asked about: classes that a micro encoder can learn in minutes."""
UNLABELLED = Setting(
    shapes=SHAPE_NAMES, radii=(70.0, 110.0), off_centre=40.0, aspects=(0.7, 1.0), upright=False, behind=paint_leaves
)
"""Images to pretrain on, as full as the scenes that promptable models are asked about. To tell their 32 classes apart
takes more images than two cores can show in minutes."""
CLASSES = tuple((shape, texture) for shape in LABELLED.shapes for texture in OBJECT_TEXTURES)
"""(shape, texture) of each label."""
WNIDS = tuple(f"l{label:08d}_{shape}_{texture}" for label, (shape, texture) in enumerate(CLASSES))
"""Folder of each label; sorted, they are in the order of the labels."""

VAL_SEED = 12
"""World of the held-out images; neither of the worlds of scenes (render.VAL_SEED, training.TRAINING_SEED)."""
TRAINING_SEED, PRETRAINING_SEED = 13, 11
"""Worlds of the images to train on, labelled and unlabelled."""
VAL_IMAGES = 1600
IMAGENET_SHA256 = "928d7554184f71d950076cf9268a921245796093458b2ba3c94f57e47499dcf2"
"""Hash of the held-out images and labels (`objects_sha256`), the same on every machine."""


@dataclass(frozen=True)
class ObjectScenes:
    """Memory-mapped images of one dominant leaf each."""

    images: np.ndarray
    """uint8 [N, SIZE, SIZE, 3]."""
    labels: np.ndarray
    """int64 [N], indices into CLASSES."""


def draw_object_scene(seed: int, index: int, setting: Setting = LABELLED) -> tuple[np.ndarray, int]:
    """Draw image `index` of the world `seed`, uint8 [SIZE, SIZE, 3], and its label; the same bytes on every machine.

    Labels are numbers of a shape and a texture of the setting, and take turns: 16 images in a row have each once.
    """
    label = index % (len(setting.shapes) * len(OBJECT_TEXTURES))
    shape, texture = divmod(label, len(OBJECT_TEXTURES))
    draws = Draws(seed, index)
    canvas = setting.behind(draws)
    x, y = (SIZE / 2 + (2 * draws.uniforms(2) - 1) * setting.off_centre).tolist()
    radius, aspect = draws.uniform(*setting.radii), draws.uniform(*setting.aspects)
    direction = upright(draws) if setting.upright else draws.direction()
    paint = legible_paint(draws, TEXTURE_NAMES.index(OBJECT_TEXTURES[texture]), radius)
    place = Placement(x, y, radius, aspect, direction)
    canvas.add(draws, place, SHAPE_NAMES.index(setting.shapes[shape]), paint=paint)
    return finish(draws, canvas.image), label


def upright(draws: Draws) -> tuple[float, float]:
    """Draw a direction near (1, 0), with nothing but what every CPU rounds the same way."""
    slope = draws.uniform(-SLANT, SLANT)
    length = math.sqrt(1 + slope * slope)
    return 1 / length, slope / length


def legible_paint(draws: Draws, texture: int, radius: float) -> Paint:
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
        for index, (image, label) in enumerate(drawn(partial(draw_object_scene, VAL_SEED), VAL_IMAGES)):
            digest.update(image.tobytes() + bytes([label]))
            Image.fromarray(image).save(folders[label] / f"{index:08d}.png", compress_level=1)
        check_published(digest.hexdigest(), IMAGENET_SHA256)


def labelled_images(count: int) -> ObjectScenes:
    """Open `count` images to finetune on, drawing them into the cache first (8 ms and 0.2 MB an image).

    Raises:
        BenchError: if the cache has images that this version would draw otherwise.
    """
    draw = partial(draw_object_scene, TRAINING_SEED)
    kinds = {"images": ((SIZE, SIZE, 3), np.uint8), "labels": ((), np.int64)}
    return ObjectScenes(*drawn_arrays(f"imagenet-labelled-{count}", count, draw, kinds))


def unlabelled_images(count: int) -> np.ndarray:
    """Open `count` images to pretrain on, uint8 [count, SIZE, SIZE, 3], drawing them first (13 ms an image).

    Raises:
        BenchError: if the cache has images that this version would draw otherwise.
    """
    kinds = {"images": ((SIZE, SIZE, 3), np.uint8)}
    return drawn_arrays(f"imagenet-unlabelled-{count}", count, _draw_unlabelled, kinds)[0]


def _draw_unlabelled(index: int) -> tuple[np.ndarray]:
    return (draw_object_scene(PRETRAINING_SEED, index, UNLABELLED)[0],)
