"""timm's augmentation of a labelled photo (section 4.1, ImageNet-1K finetuning), as a function of a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from models.training.recipes import ClassifyRecipe

Augment = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
"""(photo uint8 [H, W, 3], seed) -> pixels float32 [3, S, S], normalised."""


def augmentation(recipe: ClassifyRecipe, size: int = 224) -> Augment:
    """Return random resized crop, flip, RandAugment and random erasing as a recipe wants them.

    Erased rectangles are filled with noise, and resizing is bicubic, as in MAE's finetuning; the paper is silent.

    Args:
        recipe: area of the crops, RandAugment, probability of erasing.
        size: side S of the network's input, px.
    """
    transform = create_transform(
        size,
        is_training=True,
        scale=recipe.crop_scale,
        color_jitter=0.0,
        auto_augment=recipe.rand_augment,
        interpolation="bicubic",
        re_prob=recipe.random_erasing,
        re_mode="pixel",
    )

    def augment(photo: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
        with _seeded(seed):
            pixels: torch.Tensor = transform(Image.fromarray(photo))
        return pixels.numpy()

    return augment


@contextmanager
def _seeded(seed: tuple[int, ...]) -> Iterator[None]:
    """Seed the three global generators that timm draws from, and put them back."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    first, second, third = np.random.SeedSequence(seed).generate_state(3).tolist()
    random.seed(first)
    np.random.seed(second)  # noqa: NPY002
    torch.default_generator.manual_seed(third)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
