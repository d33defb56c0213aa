"""Dead leaves to find the salient object in: one leaf lies near the middle, on top, and is larger than all others.

In the layout that `bench.data.salient` reads, `salient/{images,masks}`, under the user's cache, rendered once; to train
on, arrays.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image

from bench.data.dead_leaves.crowded import check_published
from bench.data.dead_leaves.files import drawn, rendered, whole_or_not_at_all
from bench.data.dead_leaves.imagenet import OBJECT_TEXTURES, legible_paint
from bench.data.dead_leaves.scene import SHAPE_WEIGHTS, SIZE, Placement, finish, paint_calm
from bench.data.dead_leaves.shapes import TEXTURE_NAMES
from bench.data.dead_leaves.training import drawn_arrays, turned
from bench.draws import Draws
from models.errors import BenchError

RADII, ASPECTS = (45.0, 95.0), (0.6, 1.0)
"""Of the salient leaf: radius in px, width over length."""
OFF_CENTRE = 50.0
"""Furthest its centre is from the middle along either axis, px."""
OTHERS, OTHER_RADII = 12, (12.0, 36.0)
"""Leaves behind it and their radii, px."""

TRAINING_SEED, VAL_SEED = 33, 32
"""Worlds of the images to train on and of those held out; no other kind of scene has these seeds."""
VAL_IMAGES = 200
SALIENT_SHA256 = "4e3f178fee208c5968107f7afa510d46138624e1d51b6af532e365ee43fc32e8"
"""Hash of the held-out images and masks, the same on every machine."""


def draw_salient_scene(seed: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw image `index` of the world `seed`, uint8 [SIZE, SIZE, 3], and its salient leaf, bool [SIZE, SIZE].

    The same bytes on every machine.
    """
    draws = Draws(seed, index)
    canvas = paint_calm(draws, OTHERS, OTHER_RADII)
    x, y = (SIZE / 2 + (2 * draws.uniforms(2) - 1) * OFF_CENTRE).tolist()
    radius = draws.uniform(*RADII)
    paint = legible_paint(draws, TEXTURE_NAMES.index(OBJECT_TEXTURES[draws.integer(0, len(OBJECT_TEXTURES))]), radius)
    place = Placement(x, y, radius, draws.uniform(*ASPECTS), draws.direction())
    leaf = canvas.add(draws, place, draws.weighted(SHAPE_WEIGHTS), paint=paint)
    return finish(draws, canvas.image), canvas.leaf_map == leaf


def salient_root() -> Path:
    """Return the folder that holds salient/ of the dead leaves, rendering it first (seconds, 30 MB).

    Raises:
        BenchError: if this machine draws other pixels than the published hash says.
    """
    return rendered(f"salient-{SALIENT_SHA256[:12]}", render_salient)


def render_salient(root: Path) -> None:
    """Draw the held-out images and write them under `root`, whole or not at all."""
    digest = hashlib.sha256()
    with whole_or_not_at_all(root) as unfinished:
        images, masks = (unfinished / "salient" / kind for kind in ("images", "masks"))
        images.mkdir(parents=True)
        masks.mkdir()
        for index, (image, mask) in enumerate(drawn(partial(draw_salient_scene, VAL_SEED), VAL_IMAGES)):
            digest.update(image.tobytes() + np.packbits(mask).tobytes())
            Image.fromarray(image).save(images / f"{index:08d}.png", compress_level=1)
            Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(masks / f"{index:08d}.png")
        check_published(digest.hexdigest(), SALIENT_SHA256)


@dataclass(frozen=True)
class SalientScenes:
    """Memory-mapped images with their salient leaf."""

    images: np.ndarray
    """uint8 [N, SIZE, SIZE, 3]."""
    masks: np.ndarray
    """bool [N, SIZE, SIZE]."""


def salient_scenes(count: int) -> SalientScenes:
    """Open `count` images to train on, drawing them into the cache first (8 ms and 0.26 MB an image).

    Raises:
        BenchError: if the cache has images that this version would draw otherwise.
    """
    kinds = {"images": ((SIZE, SIZE, 3), np.uint8), "masks": ((SIZE, SIZE), np.bool_)}
    return SalientScenes(*drawn_arrays(f"salient-{count}", count, partial(draw_salient_scene, TRAINING_SEED), kinds))


class SalientBatch(TypedDict):
    """What one step sees."""

    images: np.ndarray
    """uint8 [B, 3, SIZE, SIZE] RGB."""
    masks: np.ndarray
    """bool [B, SIZE, SIZE], the salient leaf."""


class SalientBatches:
    """Batch `step` of a training run: the same for the same seed, whatever came before, so resuming is exact.

    Every image is seen once an epoch, turned and mirrored at random: scenes have no up or down.

    Raises:
        BenchError: if there are fewer images than a batch has.
    """

    def __init__(self, scenes: SalientScenes, *, images: int, seed: int) -> None:
        if len(scenes.images) < images:
            raise BenchError(f"a batch of {images} needs as many images, there are {len(scenes.images)}: lower it")
        self.scenes, self.images, self.seed = scenes, images, seed

    def __getitem__(self, step: int) -> SalientBatch:
        count = len(self.scenes.images)
        epoch, position = divmod(step, count // self.images)
        order = np.random.default_rng((self.seed, epoch)).permutation(count)
        chosen = order[position * self.images : (position + 1) * self.images]
        turns = np.random.default_rng((self.seed, 1, step)).integers(8, size=self.images)
        pairs = [
            (turned(self.scenes.images[scene].transpose(2, 0, 1), turn), turned(self.scenes.masks[scene], turn))
            for scene, turn in zip(chosen.tolist(), turns.tolist(), strict=True)
        ]
        return SalientBatch(images=np.stack([image for image, _ in pairs]), masks=np.stack([mask for _, mask in pairs]))
