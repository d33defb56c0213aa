"""Crops are inside the image, a function of their numbers alone, and cut as torchvision cuts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from bench.data.training.crops import Crop, CropBatches, crop_of, crop_to, random_crop
from models.errors import BenchError

SIDES = st.integers(1, 300)


def some_images(count: int = 7, height: int = 40, width: int = 50) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


class Features:
    """Says which (image, view) it was asked for."""

    def __getitem__(self, key: tuple[int, int]) -> np.ndarray:
        return np.array([key], dtype=np.float16)


def batches(**changes: object) -> CropBatches:
    options: dict[str, object] = {"size": 16, "images_per_batch": 3, "seed": 5, "scale": (0.3, 1.0)}
    return CropBatches(some_images(), **{**options, **changes})  # type: ignore[arg-type]


class TestCrops:
    @settings(deadline=None)
    @given(SIDES, SIDES, st.integers(0, 2**32 - 1), st.sampled_from([(0.2, 1.0), (0.08, 1.0), (1.0, 1.0)]))
    def test_a_crop_is_never_empty_and_never_outside(
        self, height: int, width: int, seed: int, scale: tuple[float, float]
    ) -> None:
        crop = random_crop(height, width, np.random.default_rng(seed), scale)
        assert crop.height > 0
        assert crop.width > 0
        assert crop.top >= 0
        assert crop.left >= 0
        assert crop.top + crop.height <= height
        assert crop.left + crop.width <= width

    def test_areas_and_aspects_are_in_their_ranges(self) -> None:
        crops = [crop_of(0, image, 0, 200, 300, (0.25, 0.6)) for image in range(500)]
        areas = np.array([crop.height * crop.width for crop in crops]) / (200 * 300)
        aspects = np.array([crop.width / crop.height for crop in crops])
        assert 0.24 < areas.min() < 0.27
        assert 0.57 < areas.max() < 0.61
        assert 0.74 < aspects.min() < 0.78
        assert 1.28 < aspects.max() < 1.35
        assert 0.4 < np.mean([crop.flip for crop in crops]) < 0.6
        assert abs(np.log(aspects).mean()) < 0.03  # log-uniform around 1

    def test_an_image_too_long_for_any_aspect_gives_its_middle(self) -> None:
        crop = random_crop(10, 1000, np.random.default_rng(0), (1.0, 1.0))
        assert crop[:4] == (0, (1000 - 13) // 2, 10, 13)

    @given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 30), st.booleans())
    @settings(deadline=None, max_examples=30)
    def test_pixels_are_those_of_torchvision(self, top: int, left: int, height: int, width: int, flip: bool) -> None:
        image = some_images()[0]
        cut = reference.resized_crop(
            Image.fromarray(image), top, left, height, width, [24, 24], InterpolationMode.BICUBIC
        )
        expected = np.asarray(reference.hflip(cut) if flip else cut).transpose(2, 0, 1)
        assert (crop_to(image, Crop(top, left, height, width, flip), 24) == expected).all()


class TestBatches:
    def test_a_batch_depends_on_its_number_alone(self) -> None:
        forwards = [batches()[step]["images"] for step in range(4)]
        fresh = batches()
        for step in (3, 0, 2, 1):
            assert (fresh[step]["images"] == forwards[step]).all()

    def test_an_epoch_sees_every_image_once_in_a_new_order(self) -> None:
        some = batches(images_per_batch=1)
        epochs = [[int(some[epoch * 7 + step]["indices"][0]) for step in range(7)] for epoch in range(3)]
        assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
        assert epochs[0] != epochs[1]

    def test_views_come_round_and_features_are_those_of_the_crop(self) -> None:
        some = batches(images_per_batch=7, views=2, features=Features())
        for epoch in range(4):
            batch = some[epoch]
            assert (batch["features"][:, 0] == [[i, epoch % 2] for i in batch["indices"]]).all()
            for row, index in enumerate(batch["indices"]):
                crop = crop_of(5, int(index), epoch % 2, 40, 50, (0.3, 1.0))
                assert (batch["images"][row] == crop_to(some_images()[index], crop, 16)).all()

    def test_runs_of_other_seeds_can_share_crops(self) -> None:
        first, second = batches(images_per_batch=7), batches(images_per_batch=7, seed=6, crop_seed=5)
        a, b = first[0], second[0]
        assert list(a["indices"]) != list(b["indices"])
        assert (a["images"][a["indices"].argsort()] == b["images"][b["indices"].argsort()]).all()

    def test_labels_belong_to_their_images(self) -> None:
        batch = batches(labels=np.arange(7) * 10)[1]
        assert (batch["labels"] == batch["indices"] * 10).all()

    def test_fewer_images_than_a_batch_is_said_at_once(self) -> None:
        with pytest.raises(BenchError, match="needs as many images, there are 7"):
            batches(images_per_batch=8)
