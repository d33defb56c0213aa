"""Large-scale jitter: photo and masks move together, and nothing but the generator decides how."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.training.jitter import LabelledPhoto, large_scale_jitter
from models.preprocessing import normalise

SIDE = 64


def painted(height: int = 60, width: int = 90) -> LabelledPhoto:
    """Two objects, each painted in a colour of its own on black."""
    image = np.zeros((height, width, 3), np.uint8)
    masks = np.zeros((2, height, width), bool)
    masks[0, 5:40, 10:40] = True
    masks[1, 30:55, 50:85] = True
    image[masks[0]] = (250, 0, 0)
    image[masks[1]] = (0, 250, 0)
    return LabelledPhoto(image, masks, np.array([3, 7]))


def jittered(photo: LabelledPhoto, seed: int, scale: tuple[float, float] = (0.1, 2.0)) -> LabelledPhoto:
    return large_scale_jitter(photo, np.random.default_rng(seed), side=SIDE, scale=scale)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(60, 120), width=st.integers(90, 140))
def test_masks_stay_on_their_objects(seed: int, height: int, width: int) -> None:
    """Inside a mask there is the object's colour, but for the pixels at its edge, which the resizing blends."""
    made = jittered(painted(height, width), seed, (0.6, 2.0))
    assert made.image.shape == (SIDE, SIDE, 3)
    assert made.masks.shape == (len(made.labels), SIDE, SIDE)
    for mask, label in zip(made.masks, made.labels, strict=True):
        inner = mask.copy()
        for axis in (0, 1):
            for step in (-1, 1, -2, 2):
                inner &= np.roll(mask, step, axis)
        inner[[0, 1, -2, -1]] = inner[:, [0, 1, -2, -1]] = False
        channel = 0 if label == 3 else 1
        assert (made.image[inner][:, channel] > 200).all()
        assert (made.image[inner][:, 1 - channel] < 50).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture() -> None:
    first, again, other = jittered(painted(), 1), jittered(painted(), 1), jittered(painted(), 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.image, other.image)


def test_the_scale_is_the_longer_side_over_the_input_s_and_the_rest_is_zero_once_normalised() -> None:
    made = jittered(painted(), 0, (0.5, 0.5))
    beside = np.abs(normalise(made.image.transpose(2, 0, 1)[None], torch.device("cpu"))[0].numpy()).max(0)
    assert beside[:, 32:].max() < 0.01
    assert beside[21:].max() < 0.01  # 60 / 90 of 32 px
    assert beside[:21, :32].min() > 0.01


def test_another_padding_is_beside_the_same_pixels() -> None:
    zero, grey = (
        large_scale_jitter(painted(), np.random.default_rng(0), side=SIDE, scale=(0.5, 0.5), padding=(value,) * 3)
        for value in (0, 128)
    )
    np.testing.assert_array_equal(zero.image[:21, :32], grey.image[:21, :32])
    assert (grey.image[21:] == 128).all()


def test_scale_1_of_a_photo_of_the_input_s_size_changes_nothing_but_left_and_right() -> None:
    rng = np.random.default_rng(0)
    photo = LabelledPhoto(
        rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), np.ones((1, SIDE, SIDE), bool), np.array([1])
    )
    flipped = 0
    for seed in range(10):
        made = jittered(photo, seed, (1.0, 1.0))
        mirrored = np.array_equal(made.image, photo.image[:, ::-1])
        assert mirrored or np.array_equal(made.image, photo.image)
        flipped += mirrored
    assert 0 < flipped < 10


def test_objects_that_are_cut_away_are_left_out_with_their_labels() -> None:
    photo = painted(240, 360)
    kept = [jittered(photo, seed, (2.0, 2.0)) for seed in range(30)]
    assert min(len(one.labels) for one in kept) < 2
    assert all(one.masks.any(axis=(1, 2)).all() for one in kept)


@pytest.mark.parametrize("scale", [(0.1, 0.1), (2.0, 2.0)])
def test_a_photo_may_have_no_object(scale: tuple[float, float]) -> None:
    photo = LabelledPhoto(np.zeros((20, 30, 3), np.uint8), np.zeros((0, 20, 30), bool), np.zeros(0, np.int64))
    made = jittered(photo, 0, scale)
    assert made.masks.shape == (0, SIDE, SIDE)
