"""Dead leaves to train on: scenes drawn once into memory-mapped arrays, batches that depend on the step alone."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypedDict

import numpy as np

from bench.data.dead_leaves.scene import SIZE, draw_scene
from bench.paths import cache_dir
from bench.progress import progress
from models.errors import BenchError

TRAINING_SEED = 1
"""World of the training scenes; the held-out world is another (render.VAL_SEED)."""


class MaskBatch(TypedDict):
    """What one step of promptable training sees."""

    images: np.ndarray
    """uint8 [B, 3, SIZE, SIZE] RGB."""
    masks: np.ndarray
    """bool [B, P, SIZE, SIZE], P objects of each image."""


@dataclass(frozen=True)
class TrainingScenes:
    """Memory-mapped scenes and the objects in each."""

    images: np.ndarray
    """uint8 [N, SIZE, SIZE, 3]."""
    maps: np.ndarray
    """uint8 [N, 2, SIZE, SIZE]: leaf map and part map of each scene."""
    objects: np.ndarray
    """int16 [N, 256]: signed object numbers, parts negative, padded with 0."""

    def masks(self, scene: int, rng: np.random.Generator, count: int) -> np.ndarray:
        """Sample objects of a scene, bool [count, SIZE, SIZE]; with replacement only if there are too few."""
        numbers = self.objects[scene][self.objects[scene] != 0]
        chosen = rng.choice(numbers, size=count, replace=len(numbers) < count)
        leaf_map, part_map = self.maps[scene]
        return np.stack([(part_map if n < 0 else leaf_map) == np.uint8(abs(n)) for n in chosen])


class MaskBatches:
    """Batch `step` of a training run: the same for the same seed, whatever came before, so resuming is exact.

    Scenes have no up or down: each is seen turned and mirrored at random.
    """

    def __init__(self, scenes: TrainingScenes, *, images: int, masks: int, seed: int) -> None:
        self.scenes, self.images, self.masks_per_image = scenes, images, masks
        self.seed = seed

    def __getitem__(self, step: int) -> MaskBatch:
        per_epoch = len(self.scenes.images) // self.images
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.scenes.images))
        chosen = order[position * self.images : (position + 1) * self.images]
        rng = np.random.default_rng((self.seed, 1, step))
        images, masks = [], []
        for scene in chosen.tolist():
            objects = self.scenes.masks(scene, rng, self.masks_per_image)  # [P, H, W]
            turn = rng.integers(8)
            images.append(_turned(self.scenes.images[scene].transpose(2, 0, 1), turn))
            masks.append(_turned(objects, turn))
        return {"images": np.stack(images), "masks": np.stack(masks)}


def _turned(maps: np.ndarray, turn: int) -> np.ndarray:
    """Return maps [..., S, S] in one of the eight symmetries of a square, 0 as they are."""
    turned = np.rot90(maps, turn % 4, axes=(-2, -1))
    return turned.swapaxes(-2, -1) if turn >= 4 else turned


def _draw(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scene = draw_scene(TRAINING_SEED, index)
    objects = np.zeros(256, dtype=np.int16)
    numbers = [-n if scene.leaves[n - 1].parent else n for n in scene.objects()]
    objects[: len(numbers)] = numbers
    return scene.image, np.stack([scene.leaf_map, scene.part_map]), objects


def training_scenes(count: int) -> TrainingScenes:
    """Open `count` training scenes, drawing them into the cache first (12 ms and 0.33 MB a scene).

    Raises:
        BenchError: if the cache has scenes that this version would draw otherwise.
    """
    folder = cache_dir() / "dead_leaves" / f"train-{count}"
    if not folder.exists():
        _draw_all(folder, count)
    images, maps, objects = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _SHAPES)
    if not (images[0] == draw_scene(TRAINING_SEED, 0).image).all():
        raise BenchError(f"{folder} was drawn by another version of the dead leaves: remove it to draw them again")
    return TrainingScenes(images, maps, objects)


_SHAPES: dict[str, tuple[tuple[int, ...], type]] = {
    "images": ((SIZE, SIZE, 3), np.uint8),
    "maps": ((2, SIZE, SIZE), np.uint8),
    "objects": ((256,), np.int16),
}


def _draw_all(folder: Path, count: int) -> None:
    """Draw the scenes beside their place and move them there when all are whole."""
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    unfinished.mkdir(parents=True, exist_ok=True)
    arrays = [
        np.lib.format.open_memmap(unfinished / f"{name}.npy", mode="w+", dtype=dtype, shape=(count, *shape))
        for name, (shape, dtype) in _SHAPES.items()
    ]
    with (
        get_context("spawn").Pool(os.cpu_count()) as pool,
        progress("drawing dead leaves", total=count, unit="scenes") as advance,
    ):
        for index, scene in enumerate(pool.imap(_draw, range(count), chunksize=32)):
            for array, value in zip(arrays, scene, strict=True):
                array[index] = value
            advance(1)
    for array in arrays:
        array.flush()
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        shutil.rmtree(unfinished)  # another process was faster, with the same bytes
