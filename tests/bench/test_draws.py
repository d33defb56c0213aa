"""Draws are the same everywhere, and follow the laws they are named after."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.draws import Draws

NAMES = st.lists(st.integers(0, 2**40), min_size=1, max_size=4)
SAMPLE = 4000
"""Draws behind a test of a distribution; the stream is fixed, so such a test cannot flicker."""

GOLDEN_UNIFORMS = {
    (0,): "0x1.461fd79fb3850p-1 0x1.1442f7e20b674p-2 0x1.4fa7b529d9bd0p-5 0x1.0ec9ed84d0bc0p-6",
    (1, 2): "0x1.cb2d56de92b2ep-2 0x1.b93920b3c0ee6p-2 0x1.ae1440745a0c6p-2 0x1.1bac041c7f7a4p-2",
    (7, 900_100_259_690): "0x1.a7c35e70dd2c0p-3 0x1.43237a35ca47ep-2 0x1.f4841a0776682p-1 0x1.429377eed91f8p-2",
}


class Fixed(Draws):
    """A stream that draws one number again and again."""

    def __init__(self, number: float) -> None:
        self.number = number

    def uniforms(self, n: int) -> np.ndarray:
        return np.full(n, self.number)


@pytest.mark.parametrize("name", GOLDEN_UNIFORMS, ids=str)
def test_a_stream_is_what_it_was_when_the_worlds_were_drawn(name: tuple[int, ...]) -> None:
    assert [x.hex() for x in Draws(*name).uniforms(4).tolist()] == GOLDEN_UNIFORMS[name].split()


def test_every_kind_of_draw_is_what_it_was_when_the_worlds_were_drawn() -> None:
    draws = Draws(1, 2)
    assert draws.uniform(-1, 1).hex() == "-0x1.a695490b6a690p-4"
    assert (draws.integer(10, 1000), draws.chance(0.5), draws.weighted((1, 2, 3))) == (436, True, 1)
    assert [x.hex() for x in draws.direction()] == ["0x1.ec61a610db473p-2", "-0x1.c0ecef6080afcp-1"]
    assert draws.radius(30, 110).hex() == "0x1.4d474eb78287ap+5"


@settings(deadline=None)
@given(NAMES, st.integers(0, 50))
def test_one_name_is_one_stream_of_numbers_from_zero_to_below_one(name: list[int], count: int) -> None:
    numbers = Draws(*name).uniforms(count)
    assert numbers.dtype == np.float64
    assert ((numbers >= 0) & (numbers < 1)).all()
    one_by_one = Draws(*name)
    assert numbers.tolist() == [one_by_one.uniform() for _ in range(count)]


def test_other_names_are_other_streams() -> None:
    names = [(seed, index) for seed in range(1, 30) for index in range(1, 30)]
    assert len({Draws(*name).uniform() for name in names}) == len(names)


@settings(deadline=None)
@given(NAMES, st.integers(-50, 50), st.integers(1, 100))
def test_integers_stay_in_their_range(name: list[int], low: int, count: int) -> None:
    draws = Draws(*name)
    assert all(low <= draws.integer(low, low + count) < low + count for _ in range(20))


def test_integers_reach_both_ends_evenly() -> None:
    draws = Draws(1)
    counts = np.bincount([draws.integer(0, 5) for _ in range(SAMPLE)], minlength=5)
    assert counts == pytest.approx(np.full(5, SAMPLE / 5), rel=0.1)


@settings(deadline=None)
@given(NAMES)
def test_directions_have_length_one(name: list[int]) -> None:
    draws = Draws(*name)
    assert all(math.hypot(*draws.direction()) == pytest.approx(1, abs=1e-15) for _ in range(20))


def test_directions_favour_no_side() -> None:
    draws = Draws(2)
    angles = np.array([math.atan2(y, x) for x, y in (draws.direction() for _ in range(SAMPLE))])
    counts, _ = np.histogram(angles, bins=8, range=(-math.pi, math.pi))
    assert counts == pytest.approx(np.full(8, SAMPLE / 8), rel=0.15)


@given(st.floats(0, 1 - 2**-53), st.floats(0.1, 100), st.floats(1, 50))
def test_radii_stay_between_their_bounds(number: float, smallest: float, ratio: float) -> None:
    rounding = 1e-9  # 1 - u (1 - q^2) loses the digits that q^2 = ratio^-2 is smaller than 1
    radius = Fixed(number).radius(smallest, smallest * ratio)
    assert smallest * (1 - rounding) <= radius <= smallest * ratio * (1 + rounding)


def test_radii_follow_the_cubic_law() -> None:
    draws = Draws(3)
    radii = np.sort([draws.radius(30, 110) for _ in range(SAMPLE)])
    law = (1 - (30 / radii) ** 2) / (1 - (30 / 110) ** 2)  # integral of r^-3 from 30, scaled to reach 1 at 110
    deviation = np.abs(law - (np.arange(SAMPLE) + 0.5) / SAMPLE).max()
    assert deviation < 1.63 / math.sqrt(SAMPLE)  # Kolmogorov-Smirnov, 1 %


def test_weights_are_shares() -> None:
    draws = Draws(4)
    counts = np.bincount([draws.weighted((1, 0, 2, 5)) for _ in range(SAMPLE)], minlength=4)
    assert counts[1] == 0
    assert counts[[0, 2, 3]] == pytest.approx(SAMPLE * np.array([1, 2, 5]) / 8, rel=0.1)


@given(st.floats(0, 1 - 2**-53), st.lists(st.floats(0.01, 10), min_size=1, max_size=9))
def test_a_weighted_draw_is_an_index(number: float, weights: list[float]) -> None:
    assert 0 <= Fixed(number).weighted(weights) < len(weights)


def test_chances_are_probabilities() -> None:
    draws = Draws(5)
    assert np.mean([draws.chance(0.3) for _ in range(SAMPLE)]) == pytest.approx(0.3, abs=0.03)
    assert not any(draws.chance(0.0) for _ in range(100))
    assert all(draws.chance(1.0) for _ in range(100))
