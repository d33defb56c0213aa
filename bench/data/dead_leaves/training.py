"""Dead leaves to train on: scenes drawn once into memory-mapped arrays, batches that depend on the step alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.dead_leaves.files import drawn, whole_or_not_at_all
from bench.data.dead_leaves.scene import SIZE, draw_scene
from bench.data.sa1b import MaskBatch
from bench.paths import cache_dir
from models.errors import BenchError

TRAINING_SEED = 1
"""World of the training scenes; the held-out world is another (render.VAL_SEED)."""


@dataclass(frozen=True)
class TrainingScenes:
    """Memory-mapped scenes and the objects in each."""

    images: np.ndarray
    """uint8 [N, SIZE, SIZE, 3]."""
    maps: np.ndarray
    """uint8 [N, 2, SIZE, SIZE]: leaf map and part map of each scene."""
    objects: np.ndarray
    """int16 [N, 256]: signed object numbers, parts negative, padded with 0."""

    def first(self, count: int) -> TrainingScenes:
        """Return the first scenes alone."""
        return TrainingScenes(self.images[:count], self.maps[:count], self.objects[:count])

    def masks(self, scene: int, rng: np.random.Generator, count: int) -> np.ndarray:
        """Sample objects of a scene, bool [count, SIZE, SIZE]; with replacement only if there are too few."""
        numbers = self._numbers(scene)
        return self._drawn(scene, rng.choice(numbers, size=count, replace=len(numbers) < count))

    def all_masks(self, scene: int) -> np.ndarray:
        """Return all leaves and parts of a scene, bool [N, SIZE, SIZE]."""
        return self._drawn(scene, self._numbers(scene))

    def chosen(self, step: int, *, images: int, seed: int) -> list[int]:
        """Return the scenes of a step: each is seen once an epoch, in an order of the epoch's own."""
        epoch, position = divmod(step, len(self.images) // images)
        order = np.random.default_rng((seed, epoch)).permutation(len(self.images))
        return [int(scene) for scene in order[position * images : (position + 1) * images]]

    def _numbers(self, scene: int) -> np.ndarray:
        return self.objects[scene][self.objects[scene] != 0]

    def _drawn(self, scene: int, numbers: np.ndarray) -> np.ndarray:
        leaf_map, part_map = self.maps[scene]
        masks = np.zeros((len(numbers), SIZE, SIZE), dtype=bool)
        for mask, number in zip(masks, numbers.tolist(), strict=True):
            mask[:] = (part_map if number < 0 else leaf_map) == abs(number)
        return masks


class MaskBatches:
    """Batch `step` of a training run: the same for the same seed, whatever came before, so resuming is exact.

    Scenes have no up or down: each is seen turned and mirrored at random.
    """

    def __init__(self, scenes: TrainingScenes, *, images: int, masks: int, seed: int) -> None:
        self.scenes, self.images, self.masks_per_image = scenes, images, masks
        self.seed = seed

    def __getitem__(self, step: int) -> MaskBatch:
        rng = np.random.default_rng((self.seed, 1, step))
        images, masks = [], []
        for scene in self.scenes.chosen(step, images=self.images, seed=self.seed):
            objects = self.scenes.masks(scene, rng, self.masks_per_image)  # [P, H, W]
            turn = int(rng.integers(8))
            images.append(turned(self.scenes.images[scene].transpose(2, 0, 1), turn))
            masks.append(turned(objects, turn))
        return {"images": np.stack(images), "masks": np.stack(masks)}


def turned(maps: np.ndarray, turn: int) -> np.ndarray:
    """Return maps [..., S, S] in one of the eight symmetries of a square, 0 as they are."""
    rotated = np.rot90(maps, turn % 4, axes=(-2, -1))
    return np.ascontiguousarray(rotated.swapaxes(-2, -1) if turn >= 4 else rotated)


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
    return TrainingScenes(*drawn_arrays(f"train-{count}", count, _draw, _ARRAYS))


ArrayKinds = Mapping[str, tuple[tuple[int, ...], type]]
"""Name of each array: its shape for one scene, and its type."""

_ARRAYS: ArrayKinds = {
    "images": ((SIZE, SIZE, 3), np.uint8),
    "maps": ((2, SIZE, SIZE), np.uint8),
    "objects": ((256,), np.int16),
}


def drawn_arrays(
    name: str, count: int, draw: Callable[[int], Sequence[np.ndarray | int]], kinds: ArrayKinds
) -> list[np.ndarray]:
    """Open arrays [count, ...] of scenes as memory maps, drawing them into the cache first if they are not there.

    Args:
        name: of their folder in the cache.
        count: scenes.
        draw: a module's function, so that other processes find it: the arrays of scene `index`, the image first.
        kinds: the arrays in the order in which `draw` returns them.

    Raises:
        BenchError: if the folder has scenes that `draw` would draw otherwise.
    """
    folder = cache_dir() / "dead_leaves" / name
    if not folder.exists():
        _draw_all(folder, count, draw, kinds)
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in kinds]
    if not (arrays[0][0] == draw(0)[0]).all():
        raise BenchError(f"{folder} was drawn by another version of the dead leaves: remove it to draw them again")
    return arrays


def _draw_all(folder: Path, count: int, draw: Callable[[int], Sequence[np.ndarray | int]], kinds: ArrayKinds) -> None:
    with whole_or_not_at_all(folder) as unfinished:
        arrays = [
            np.lib.format.open_memmap(unfinished / f"{name}.npy", mode="w+", dtype=dtype, shape=(count, *shape))
            for name, (shape, dtype) in kinds.items()
        ]
        for index, scene in enumerate(drawn(draw, count)):
            for array, value in zip(arrays, scene, strict=True):
                array[index] = value
        for array in arrays:
            array.flush()
