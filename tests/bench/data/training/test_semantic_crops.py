"""Crops of labelled photos: the same for the same step, pixels and classes moved together."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.ade20k import IGNORED
from bench.data.training.semantic_crops import PAD, CropSettings, SemanticBatches, distorted, random_crop
from models.errors import BenchError
from tests.bench.data.ade20k_files import random_pair

COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)], np.uint8)


def painted(height: int, width: int, seed: int = 0):
    """A photo whose colours are its classes, in 8 px blocks."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 4, (-(-height // 8), -(-width // 8)), dtype=np.uint8)
    classes = np.kron(blocks, np.ones((8, 8), np.uint8))[:height, :width]
    return COLOURS[classes], classes


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 32), st.integers(16, 32), st.integers(32, 48), st.integers(0, 1000))
def test_pixels_and_classes_are_moved_together(height, width, size, seed) -> None:
    photo, classes = painted(height, width)
    crops = CropSettings(size, (1.0, 2.0), colours=False)  # enlarged, so that blocks stay wider than the blur
    image, found = random_crop(photo, classes, crops, np.random.default_rng(seed))
    assert (image.shape, found.shape) == ((size, size, 3), (size, size))
    padded = found == IGNORED
    assert (image[padded] == PAD).all()
    pure = (image[..., None, :] == COLOURS).all(-1)  # [S, S, 4]: pixels away from the blocks' edges
    assert pure.any(-1)[~padded].mean() > 0.4
    assert (pure.argmax(-1) == found)[pure.any(-1) & ~padded].all()


def test_pixels_and_classes_stay_together_in_smaller_photos() -> None:
    photo, classes = painted(48, 96)
    photo, classes = (np.repeat(np.repeat(array, 5, 0), 5, 1) for array in (photo, classes))  # blocks of 40 px
    for seed in range(20):
        crops = CropSettings(64, (0.5, 1.0), colours=False)
        image, found = random_crop(photo, classes, crops, np.random.default_rng(seed))
        known = found != IGNORED
        pure = (image[..., None, :] == COLOURS).all(-1)
        assert (pure.argmax(-1) == found)[pure.any(-1) & known].all()
        assert pure.any(-1)[known].mean() > 0.2


def test_at_scale_1_a_crop_is_a_part_of_the_photo() -> None:
    photo, classes = painted(40, 64)
    image, found = random_crop(photo, classes, CropSettings(40, (1.0, 1.0), colours=False), np.random.default_rng(3))
    np.testing.assert_array_equal(COLOURS[found], image)


def test_a_photo_no_longer_than_allowed_is_not_scaled_beyond() -> None:
    photo, classes = painted(16, 64)
    crops = CropSettings(32, (2.0, 2.0), longest=64, colours=False)
    found = random_crop(photo, classes, crops, np.random.default_rng(0))[1]
    assert (found[16:] == IGNORED).all()  # 16 x 64 px as it was
    assert (found[:16] != IGNORED).all()


def test_a_crop_that_one_class_fills_is_drawn_again() -> None:
    classes = np.zeros((32, 256), np.uint8)
    classes[:, -48:] = 1
    photo = COLOURS[classes]
    crops = CropSettings(32, (1.0, 1.0), colours=False)
    mixed = [len(np.unique(random_crop(photo, classes, crops, np.random.default_rng(s))[1])) > 1 for s in range(60)]
    assert np.mean(mixed) > 0.4  # one try alone would give 0.14


def test_a_batch_is_a_function_of_its_step() -> None:
    pairs = [random_pair(seed) for seed in range(5)]
    make = lambda seed: SemanticBatches(pairs, CropSettings(8, (0.5, 2.0)), images_per_batch=2, seed=seed)  # noqa: E731
    one, other = make(0), make(0)
    for step in (7, 0, 3):
        for key in ("images", "classes"):
            np.testing.assert_array_equal(one[step][key], other[step][key])
    assert one[0]["images"].shape == (2, 3, 8, 8)
    assert one[0]["classes"].shape == (2, 8, 8)
    assert not np.array_equal(make(1)[0]["images"], one[0]["images"])
    assert not np.array_equal(one[2]["images"], one[0]["images"])


def test_an_epoch_shows_no_photo_twice() -> None:
    pairs = [(np.full((9, 9, 3), 40 * k, np.uint8), np.full((9, 9), k, np.uint8)) for k in range(6)]
    batches = SemanticBatches(pairs, CropSettings(9, (1.0, 1.0), colours=False), images_per_batch=2, seed=0)
    for epoch in range(2):
        seen = [int(c[0, 0]) for step in range(3) for c in batches[3 * epoch + step]["classes"]]
        assert sorted(seen) == [0, 1, 2, 3, 4, 5]


def test_colours_change_in_most_cases_and_stay_colours() -> None:
    photo = random_pair(0, (16, 16))[0]
    changed = [distorted(photo, np.random.default_rng(seed)) for seed in range(40)]
    assert all(image.dtype == np.uint8 and image.shape == photo.shape for image in changed)
    assert sum(not np.array_equal(image, photo) for image in changed) > 30


def test_hues_turn_by_up_to_36_degrees_either_way_as_opencv_s_18_of_180() -> None:
    red = np.full((1, 1, 3), (255, 0, 0), dtype=np.uint8)

    class Turned(np.random.Generator):
        """Draws no change but of the hue, and that at one end of its range."""

        def random(self, count: int) -> np.ndarray:  # type: ignore[override]
            return np.array([0.9, 0.9, 0.9, 0.1])

        def uniform(self, low: float, high: float) -> float:  # type: ignore[override]
            return (low, high)[self.end]

    found = []
    for end in (0, 1):
        rng = Turned(np.random.PCG64(0))
        rng.end = end  # type: ignore[attr-defined]
        found.append(colorsys.rgb_to_hsv(*(distorted(red, rng)[0, 0] / 255))[0] * 360)
    assert found == pytest.approx([360 - 36, 36], abs=360 / 256)


def test_fewer_photos_than_a_batch_has_are_an_error() -> None:
    with pytest.raises(BenchError, match="a batch of 4 needs as many photos, there are 2"):
        SemanticBatches([random_pair(0), random_pair(1)], CropSettings(8, (1, 1)), images_per_batch=4, seed=0)
