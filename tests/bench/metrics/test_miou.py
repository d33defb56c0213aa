"""Mean IoU and its bootstrap equal what is computed the long way."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import miou
from bench.metrics.interval import image_weights
from bench.metrics.miou import class_iou, mean_iou, mean_iou_interval, paired_mean_iou_interval
from models.errors import BenchError


def areas(seed: int, images: int = 12, classes: int = 5):
    rng = np.random.default_rng(seed)
    union = rng.integers(0, 50, (images, classes)) * (rng.random((images, classes)) < 0.6)
    return np.floor(union * rng.random((images, classes))).astype(np.int64), union


def test_examples() -> None:
    assert doctest.testmod(miou).failed == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_mean_iou_is_the_mean_over_the_classes_there_are(seed) -> None:
    inter, union = (values.sum(0) for values in areas(seed, images=2))
    by_hand = [i / u for i, u in zip(inter, union, strict=True) if u]
    assert mean_iou(inter, union) == pytest.approx(np.mean(by_hand) if by_hand else np.nan, nan_ok=True)
    assert np.isnan(class_iou(inter, union)).sum() == (union == 0).sum()


def test_the_interval_is_that_of_resampled_images() -> None:
    inter, union = areas(1)
    found = mean_iou_interval(inter, union, replicates=200, seed=5)
    weights = np.concatenate(list(image_weights(12, 200, 5)))
    resampled = []
    for counts in weights:
        drawn = np.repeat(np.arange(12), counts)
        resampled.append(float(mean_iou(inter[drawn].sum(0), union[drawn].sum(0))))
    low, high = np.quantile(resampled, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.value, found.n) == (pytest.approx(float(mean_iou(inter.sum(0), union.sum(0)))), 12)


def test_a_model_is_no_better_than_itself_and_pairs_are_antisymmetric() -> None:
    one, other = areas(1), areas(2)
    assert paired_mean_iou_interval(one, one)[:3] == (0, 0, 0)
    there, back = paired_mean_iou_interval(one, other), paired_mean_iou_interval(other, one)
    assert there.value == pytest.approx(-back.value)
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))


def test_a_small_even_advantage_is_decided_by_pairs_alone() -> None:
    inter, union = areas(3, images=60)
    union = union + 100
    inter = np.floor(union * np.random.default_rng(0).uniform(0.3, 0.7, (60, 1))).astype(np.int64)
    better = paired_mean_iou_interval((inter + 2, union), (inter, union))
    alone = mean_iou_interval(inter, union)
    assert better.low > 0
    assert alone.high - alone.low > 3 * (better.high - better.low)


def test_one_image_has_no_interval() -> None:
    inter, union = areas(0, images=1)
    assert np.isnan(mean_iou_interval(inter, union).low)


def test_areas_that_cannot_be_are_errors() -> None:
    inter, union = areas(0)
    with pytest.raises(BenchError, match="intersections"):
        mean_iou_interval(union + 1, union)
    with pytest.raises(BenchError, match="same images and classes twice"):
        paired_mean_iou_interval((inter, union), (inter[:3], union[:3]))


@pytest.mark.slow
def test_intervals_hold_the_expected_value_about_as_often_as_they_say() -> None:
    """Images of 17 classes, each class in a fifth of them, with IoU that varies between images."""
    rng = np.random.default_rng(0)

    def draw(images: int):
        union = rng.integers(500, 3000, (images, 17)) * (rng.random((images, 17)) < 0.2)
        quality = np.clip(rng.normal(0.4, 0.2, (images, 1)) + rng.normal(0, 0.1, (images, 17)), 0, 1)
        return np.floor(union * quality).astype(np.int64), union

    inter, union = draw(200_000)
    truth = float(mean_iou(inter.sum(0), union.sum(0)))
    hits = [found.low <= truth <= found.high for found in (mean_iou_interval(*draw(100)) for _ in range(300))]
    assert np.mean(hits) > 0.9
