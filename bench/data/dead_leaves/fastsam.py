"""Dead leaves for FastSAM's training: each scene with all its leaves and parts, of one class, as boxes and masks."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from bench.data.dead_leaves.scene import SIZE
from bench.data.dead_leaves.training import TrainingScenes, turned

MASK_STRIDE = 4
"""Pixels a side that one value of a mask stands for: the stride of YOLOv8-seg's prototypes."""


class FastSamBatch(TypedDict):
    """What one step sees: B scenes and the N objects in all of them."""

    images: np.ndarray
    """uint8 [B, 3, SIZE, SIZE] RGB."""
    image: np.ndarray
    """int64 [N]: the scene an object is in."""
    boxes: np.ndarray
    """float32 [N, 4]: centre x, centre y, width, height of the visible pixels, over SIZE."""
    masks: np.ndarray
    """float32 [N, SIZE / 4, SIZE / 4]: share of the object in each 4 x 4 pixels."""


class FastSamBatches:
    """Batch `step` of a training run: the same for the same seed, whatever came before, so resuming is exact.

    Scenes have no up or down: each is seen turned and mirrored at random. Parts are objects beside the leaves that
    carry them, swarms are none.
    """

    def __init__(self, scenes: TrainingScenes, *, images: int, seed: int) -> None:
        self.scenes, self.images, self.seed = scenes, images, seed

    def __getitem__(self, step: int) -> FastSamBatch:
        turns = np.random.default_rng((self.seed, 1, step))
        images, counts, boxes, masks = [], [], [], []
        for scene in self.scenes.chosen(step, images=self.images, seed=self.seed):
            turn = int(turns.integers(8))
            images.append(turned(self.scenes.images[scene].transpose(2, 0, 1), turn))
            objects = turned(self.scenes.all_masks(scene), turn)  # [n, SIZE, SIZE]
            counts.append(len(objects))
            boxes.append(boxes_of(objects))
            masks.append(shares_of(objects))
        return {
            "images": np.stack(images),
            "image": np.repeat(np.arange(len(images)), counts),
            "boxes": np.concatenate(boxes),
            "masks": np.concatenate(masks),
        }


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Return the boxes of masks bool [N, S, S], none of them empty: centre x, centre y, width, height over S.

    >>> boxes_of(np.array([[[0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]], dtype=bool)).tolist()
    [[0.625, 0.375, 0.75, 0.25]]
    """
    size = masks.shape[-1]
    spans = []
    for axis in (1, 2):  # columns that hold a pixel give x, rows y
        held = np.asarray(masks.any(axis))  # [N, S]
        first, end = held.argmax(1), size - held[:, ::-1].argmax(1)
        spans.append(((first + end) / 2 / size, (end - first) / size))
    (x, width), (y, height) = spans
    return np.stack([x, y, width, height], axis=1).astype(np.float32)


def shares_of(masks: np.ndarray) -> np.ndarray:
    """Return the share of each MASK_STRIDE x MASK_STRIDE pixels that masks bool [N, SIZE, SIZE] cover, float32."""
    cells = SIZE // MASK_STRIDE
    rows = masks.reshape(-1, cells, MASK_STRIDE, SIZE).sum(2, dtype=np.uint8)  # [N, cells, SIZE]
    counts = rows.reshape(-1, cells, cells, MASK_STRIDE).sum(3, dtype=np.uint8)
    return counts.astype(np.float32) / MASK_STRIDE**2
