import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.metrics import interval
from bench.metrics.interval import centred_interval, image_weights, mean_interval, paired_mean_interval
from models.errors import BenchError


def clustered(seed: int, images: int, spread: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Values [N] whose images differ by `spread`, and their images [N], 1 to 9 values each."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, size=images)
    groups = np.repeat(np.arange(images), sizes)
    return 0.5 + spread * rng.normal(size=images)[groups] + 0.05 * rng.normal(size=len(groups)), groups


def test_the_value_is_the_mean_over_prompts_not_over_images() -> None:
    assert mean_interval(np.array([1.0, 1.0, 1.0, 0.0]), np.array([5, 5, 5, 8])).value == 0.75


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values, groups = clustered(0, 40)
    assert mean_interval(values, groups, seed=3) == mean_interval(values, groups, seed=3)
    assert mean_interval(values, groups, seed=3) != mean_interval(values, groups, seed=4)


def test_each_replicate_is_the_mean_over_a_data_set_in_which_images_are_repeated() -> None:
    values, groups = clustered(1, 12)
    (weights,) = image_weights(12, 5, seed=2)
    repeated = [np.mean(np.repeat(values, row[groups])) for row in weights]
    expected = np.quantile(repeated, [0.025, 0.975])
    result = mean_interval(values, groups, replicates=5, seed=2)
    np.testing.assert_allclose([result.low, result.high], expected, rtol=1e-12)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(300):
        found = mean_interval(*clustered(seed, 50), replicates=200, seed=seed)
        hits += found.low <= 0.5 <= found.high
    # 95 % +- 3 standard errors of 300 trials; at 50 images percentile intervals are 1 or 2 % short.
    assert 0.89 <= hits / 300 <= 0.99


def test_prompts_that_share_an_image_do_not_count_as_independent() -> None:
    values = np.repeat(np.random.default_rng(0).random(30), 20)
    together = mean_interval(values, np.repeat(np.arange(30), 20))
    apart = mean_interval(values, np.arange(600))
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_images_may_have_any_ids_in_any_order() -> None:
    values, groups = clustered(2, 30)
    order = np.random.default_rng(0).permutation(len(values))
    plain, mixed = mean_interval(values, groups), mean_interval(values[order], 7 * groups[order] + 1000)
    np.testing.assert_allclose(mixed, plain, rtol=1e-12)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(0, 5))
def test_an_interval_lies_within_the_values(values: list[float], seed: int) -> None:
    found = mean_interval(np.array(values), np.arange(len(values)), replicates=50, seed=seed)
    assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12
    assert found.n == len(values)


@pytest.mark.parametrize("groups", [[4], [4, 4, 4]])
def test_fewer_than_two_images_give_a_value_without_ends(groups: list[int]) -> None:
    found = mean_interval(np.ones(len(groups)), np.array(groups))
    assert found.value == 1
    assert np.isnan([found.low, found.high]).all()


def test_no_prompts_give_nan_and_no_replicates_give_no_ends() -> None:
    none = mean_interval(np.empty(0), np.empty(0, dtype=int))
    assert np.isnan(none[:3]).all()
    assert none.n == 0
    unasked = mean_interval(np.arange(4.0), np.arange(4), replicates=0)
    assert unasked.value == 1.5
    assert np.isnan([unasked.low, unasked.high]).all()


def test_a_paired_difference_of_near_twins_is_decided_where_unpaired_intervals_overlap() -> None:
    first, groups = clustered(3, 40)
    second = first - 0.01 + 0.001 * np.random.default_rng(0).normal(size=len(first))
    difference = paired_mean_interval(first, second, groups)
    assert 0 < difference.low < difference.value < difference.high
    assert mean_interval(second, groups).high > mean_interval(first, groups).low


def test_a_model_differs_from_itself_by_exactly_nothing() -> None:
    values, groups = clustered(4, 20)
    assert paired_mean_interval(values, values, groups) == (0, 0, 0, len(values))


def test_a_paired_difference_turns_round_with_its_models() -> None:
    first, groups = clustered(5, 20)
    second = np.roll(first, 3)
    there, back = paired_mean_interval(first, second, groups), paired_mean_interval(second, first, groups)
    np.testing.assert_allclose([there.value, there.low, there.high], [-back.value, -back.high, -back.low])


def test_image_weights_draw_as_many_images_as_there_are_each_as_often_as_any() -> None:
    weights = np.concatenate(list(image_weights(50, 400, seed=1)))
    assert weights.shape == (400, 50)
    assert (weights.sum(axis=1) == 50).all()
    # The mean of 400 binomial(50, 1/50) draws has a standard error of .05.
    assert np.abs(weights.mean(axis=0) - 1).max() < 0.25


def test_image_weights_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = image_weights(20, 30, seed=1)
    monkeypatch.setattr(interval, "DRAWS_AT_ONCE", 70)
    parts = list(image_weights(20, 30, seed=1))
    assert len(parts) == 10
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_centred_interval_takes_its_width_from_the_replicates_and_its_place_from_the_value() -> None:
    replicates = np.append(np.random.default_rng(0).normal(0.6, 0.05, size=1000), np.nan)
    found = centred_interval(0.5, replicates, 7, images=9)
    assert found.high - found.low == pytest.approx(np.diff(np.nanquantile(replicates, [0.025, 0.975]))[0])
    assert found.high - 0.5 == pytest.approx(0.5 - found.low, rel=0.1)
    assert np.isnan(centred_interval(0.5, np.full(3, np.nan), 7, images=9)[1:3]).all()


def test_values_that_are_not_numbers_or_lack_an_image_are_refused() -> None:
    with pytest.raises(BenchError, match="value 1 of 2 is not finite"):
        mean_interval(np.array([0.0, np.nan]), np.array([1, 2]))
    with pytest.raises(BenchError, match="give the image of every value"):
        mean_interval(np.zeros(3), np.zeros(2, dtype=int))
    with pytest.raises(BenchError, match="the same prompts twice"):
        paired_mean_interval(np.zeros(3), np.zeros(2), np.zeros(3, dtype=int))
