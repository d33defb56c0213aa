import math

import pytest

from bench.metrics.interval import Interval
from bench.metrics.random_effects import RandomEffectsMean
from protocols.comparisons import compared, compared_over_seeds

PAIR = ("a", "b", "top1")


@pytest.mark.parametrize(
    ("paper", "low", "high", "verdict"),
    [
        (0.02, 0.01, 0.03, "same order"),
        (-0.02, 0.01, 0.03, "opposite order"),
        (0.02, -0.01, 0.05, "not decided"),
        (0.02, math.nan, math.nan, "not decided"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(paper, low, high, verdict):
    assert compared(*PAIR, paper, Interval(0.02, low, high, 10)).verdict == verdict


def test_what_was_not_measured_has_no_verdict():
    assert compared(*PAIR, 0.02, None).verdict == compared_over_seeds(*PAIR, 0.02, None).verdict == "not measured"


def test_over_seeds_a_verdict_carries_its_p_value():
    ours = RandomEffectsMean(0.02, -0.01, 0.05, 0.1834, 3, 100)
    assert compared_over_seeds(*PAIR, 0.02, ours).verdict == "not decided (p = 0.18)"


def test_one_seed_decides_nothing_however_sure_its_images_are():
    ours = RandomEffectsMean(0.02, 0.01, 0.03, 1e-9, 1, 100)
    assert compared_over_seeds(*PAIR, 0.02, ours).verdict == "not decided (1 seed)"


def test_a_difference_that_the_paper_does_not_speak_of_has_no_order():
    assert compared(*PAIR, None, Interval(0.02, 0.01, 0.03, 10)).verdict == "not claimed"
