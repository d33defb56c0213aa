"""Labelled photos to train on: batches that depend on the micro-batch number alone, so resuming is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import numpy as np

from bench.data.training.crops import Images
from models.errors import BenchError

_ORDER, _PHOTO = 0, 3
"""Domains of seeds, apart from those of crops."""


class LabelledBatch(TypedDict):
    """What one step of finetuning sees."""

    images: np.ndarray
    """float32 [B, 3, S, S], normalised."""
    labels: np.ndarray
    """int64 [B]."""


class AugmentedBatches:
    """Micro-batches of augmented photos; every photo is seen once an epoch, the last incomplete batch is left out.

    Args:
        images: the photos.
        labels: int64 [N].
        augment: (photo uint8 [H, W, 3], seed) -> pixels float32 [3, S, S]; draws from nothing but the seed.
        images_per_batch: images of one micro-batch.
        seed: of order and augmentation.

    Raises:
        BenchError: if there are fewer photos than a batch has, or not as many labels.
    """

    def __init__(
        self,
        images: Images,
        labels: np.ndarray,
        *,
        augment: Callable[[np.ndarray, tuple[int, ...]], np.ndarray],
        images_per_batch: int,
        seed: int,
    ) -> None:
        if len(images) != len(labels):
            raise BenchError(f"there are {len(images)} photos but {len(labels)} labels: give one label a photo")
        if len(images) < images_per_batch:
            raise BenchError(f"a batch of {images_per_batch} needs as many photos, there are {len(images)}: lower it")
        self.images, self.labels, self.augment = images, labels, augment
        self.images_per_batch, self.seed = images_per_batch, seed

    def __getitem__(self, micro: int) -> LabelledBatch:
        """Return one micro-batch; the augmentation of a photo depends on (seed, epoch, photo) alone."""
        epoch, position = divmod(micro, len(self.images) // self.images_per_batch)
        order = np.random.default_rng((self.seed, _ORDER, epoch)).permutation(len(self.images))
        chosen = order[position * self.images_per_batch : (position + 1) * self.images_per_batch]
        pixels = [self.augment(self.images[i], (self.seed, _PHOTO, epoch, i)) for i in chosen.tolist()]
        return {"images": np.stack(pixels), "labels": self.labels[chosen]}
