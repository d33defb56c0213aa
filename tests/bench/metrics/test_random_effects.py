"""Means over seeds and images, against scipy where one of the two does not matter and by simulation where both do."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from bench.metrics import random_effects
from bench.metrics.interval import image_weights, mean_interval
from bench.metrics.random_effects import random_effects_mean, random_effects_of_statistic, ratio_values
from models.errors import BenchError
from protocols import comparisons

TABLES = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 9)), elements=st.integers(-1, 1))


@pytest.mark.parametrize("module", [random_effects, comparisons])
def test_examples_in_docstrings_are_true(module):
    assert doctest.testmod(module) == (0, doctest.testmod(module).attempted)


def test_images_that_all_agree_leave_a_t_test_over_seeds():
    per_seed = np.array([0.02, 0.05, 0.01, 0.04])
    ours = random_effects_mean(np.repeat(per_seed[:, None], 50, axis=1))
    assert ours.p == pytest.approx(stats.ttest_1samp(per_seed, 0).pvalue)
    low, high = stats.ttest_1samp(per_seed, 0).confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((low, high))


@pytest.mark.parametrize("seeds", [1, 3])
def test_seeds_that_all_agree_leave_a_t_test_over_images(seeds):
    per_image = np.random.default_rng(0).integers(-1, 2, 200).astype(float)
    ours = random_effects_mean(np.repeat(per_image[None], seeds, axis=0))
    assert ours.p == pytest.approx(stats.ttest_1samp(per_image, 0).pvalue, rel=0.01)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(5)
    held = seeds_only = 0
    for _ in range(400):
        table = rng.normal(0, 0.02, (3, 1)) + rng.normal(0, 0.4, (1, 300)) + rng.normal(0, 0.4, (3, 300))
        ours = random_effects_mean(table)
        held += ours.low <= 0 <= ours.high
        seeds_only += stats.ttest_1samp(table.mean(axis=1), 0).pvalue >= 0.05
    # Three standard errors of 400 draws at 95 % are 3.3 points.
    assert held / 400 >= 0.917
    assert seeds_only < held, "ignoring that images are a sample too is what this is against"


class TestStatistic:
    @pytest.mark.parametrize("seeds", [1, 2, 4])
    def test_of_a_mean_it_is_what_the_mean_over_seeds_and_images_says(self, seeds):
        rng = np.random.default_rng(seeds)
        table = rng.normal(0.1, 0.05, (seeds, 1)) + rng.normal(0, 0.3, (1, 150)) + rng.normal(0, 0.3, (seeds, 150))
        weights = np.concatenate(list(image_weights(150, 4000, 0))) / 150  # [B, N]
        ours = random_effects_of_statistic(table.mean(axis=1), table @ weights.T, images=150)
        exact = random_effects_mean(table)
        assert ours.value == pytest.approx(exact.value)
        assert ours.high - ours.low == pytest.approx(exact.high - exact.low, rel=0.05)
        assert ours.p == pytest.approx(exact.p, rel=0.2)

    def test_a_sample_that_is_nan_for_one_seed_is_left_out_for_all(self):
        draws = np.random.default_rng(0).normal(size=(2, 50))
        spoilt = np.concatenate([draws, [[np.nan], [9.0]]], axis=1)
        assert random_effects_of_statistic([0.1, 0.2], spoilt, images=9) == random_effects_of_statistic(
            [0.1, 0.2], draws, images=9
        )

    def test_without_samples_there_is_no_interval(self):
        ours = random_effects_of_statistic([0.1, 0.3], np.empty((2, 0)), images=9)
        assert (ours.value, math.isnan(ours.low)) == (pytest.approx(0.2), True)

    @pytest.mark.parametrize(("values", "draws"), [([np.nan], [[1.0]]), ([1.0, 2.0], [[1.0]]), ([], np.empty((0, 3)))])
    def test_what_does_not_fit_is_refused(self, values, draws):
        with pytest.raises(BenchError, match="a statistic over seeds needs"):
            random_effects_of_statistic(values, draws, images=5)


@given(TABLES)
@settings(max_examples=60, deadline=None)
def test_the_interval_leaves_out_zero_exactly_where_p_is_small(table):
    ours = random_effects_mean(table)
    assert ours.low <= ours.value <= ours.high
    if abs(ours.p - 0.05) > 1e-6:
        assert (ours.p < 0.05) == (not ours.low <= 0 <= ours.high)


def test_one_image_has_no_interval():
    assert math.isnan(random_effects_mean(np.ones((3, 1))).low)


@pytest.mark.parametrize("values", [np.empty((0, 3)), np.array([1.0]), np.array([[math.nan, 1.0]])])
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(BenchError, match="finite values"):
        random_effects_mean(values)


def test_a_mean_over_objects_varies_as_a_bootstrap_over_their_images_says():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 400, 3000)
    ious = np.clip(rng.normal(0.7, 0.1, 400)[images] + rng.normal(0, 0.1, 3000), 0, 1)
    _, member = np.unique(images, return_inverse=True)
    ours = random_effects_mean(ratio_values(np.bincount(member, weights=ious)[None], np.bincount(member)))
    bootstrap = mean_interval(ious, images)
    assert ours.value == pytest.approx(bootstrap.value)
    assert ours.high - ours.low == pytest.approx(bootstrap.high - bootstrap.low, rel=0.1)
