"""Augmentation is timm's, and a function of the photo and a seed."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform

from models.training.augment import augmentation
from models.training.recipes import CLASSIFY_PAPER

RECIPE = replace(CLASSIFY_PAPER, random_erasing=0.5)
PHOTO = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)


def test_the_same_seed_gives_the_same_pixels_whatever_came_before() -> None:
    augment = augmentation(RECIPE, 32)
    first = augment(PHOTO, (1, 2, 3))
    augment(PHOTO, (4, 5, 6))
    random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    np.testing.assert_array_equal(augment(PHOTO, (1, 2, 3)), first)
    assert first.shape == (3, 32, 32)
    assert first.dtype == np.float32


def test_other_seeds_give_other_pixels() -> None:
    augment = augmentation(RECIPE, 32)
    views = {augment(PHOTO, (0, 0, index)).tobytes() for index in range(20)}
    assert len(views) == 20


def test_global_generators_are_left_as_they_were() -> None:
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[union-attr, index]  # noqa: NPY002
    for index in range(5):
        augmentation(RECIPE, 32)(PHOTO, (0, index))
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_pixels_are_those_of_timms_own_transform() -> None:
    theirs = create_transform(
        32,
        is_training=True,
        scale=(0.08, 1.0),
        color_jitter=None,
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        re_prob=0.5,
        re_mode="pixel",
        re_count=1,
    )
    for seed in range(10):
        first, second, third = np.random.SeedSequence((seed,)).generate_state(3).tolist()
        random.seed(first)
        np.random.seed(second)  # noqa: NPY002
        torch.manual_seed(third)
        expected = theirs(Image.fromarray(PHOTO)).numpy()
        np.testing.assert_array_equal(augmentation(RECIPE, 32)(PHOTO, (seed,)), expected)


def test_without_extras_a_whole_crop_is_the_photo_resized_and_perhaps_mirrored() -> None:
    square = PHOTO[:40]
    recipe = replace(RECIPE, rand_augment=None, random_erasing=0.0, crop_scale=(1.0, 1.0))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    plain = ((square / 255 - mean) / std).transpose(2, 0, 1)
    found = [augmentation(recipe, 40)(square, (seed,)) for seed in range(12)]
    mirrored = [not np.allclose(pixels, plain, atol=1e-5) for pixels in found]
    whole = [p for p, m in zip(found, mirrored, strict=True) if not m or np.allclose(p[..., ::-1], plain, atol=1e-5)]
    assert len(whole) == 12
    assert set(mirrored) == {True, False}
