"""Scores of saliency maps, against PySODMetrics."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.metrics.saliency import f_curve, max_f_interval, mean_absolute_error, paired_max_f_interval, s_measure
from models.errors import BenchError
from tests.bench.metrics.saliency_cases import GOLDEN, cases

REFERENCE = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", cases())
def test_scores_are_those_of_pysodmetrics(name: str) -> None:
    saliency, truth = cases()[name]
    theirs = REFERENCE[name]
    assert mean_absolute_error(saliency, truth) == pytest.approx(theirs["mae"], abs=1e-12)
    np.testing.assert_allclose(f_curve(saliency, truth), theirs["f_curve"][::-1], atol=1e-12)
    if not np.isnan(theirs["s_measure"]):
        assert s_measure(saliency, truth) == pytest.approx(theirs["s_measure"], abs=1e-12)


def test_only_a_mask_that_leaves_a_part_empty_has_no_s_measure_there() -> None:
    """Its parts around the mask's centre are then fewer than four: the reference divides 0 by 0, here it counts 0."""
    undefined = {name for name, scores in REFERENCE.items() if np.isnan(scores["s_measure"])}
    assert undefined == {"one pixel", "one column"}
    assert all(0 <= s_measure(*cases()[name]) <= 1 for name in undefined)


maps = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(arrays.arrays(np.uint8, shape), arrays.arrays(np.bool_, shape))
)


@given(maps)
def test_scores_are_shares_and_mirroring_changes_what_has_no_place_not_at_all(pair: tuple[np.ndarray, ...]) -> None:
    saliency, truth = pair
    assert 0 <= s_measure(saliency, truth) <= 1 + 1e-12
    curve = f_curve(saliency, truth)
    assert ((curve >= 0) & (curve <= 1)).all()
    assert mean_absolute_error(saliency[:, ::-1], truth[:, ::-1]) == pytest.approx(mean_absolute_error(saliency, truth))
    np.testing.assert_array_equal(f_curve(saliency[:, ::-1], truth[:, ::-1]), curve)


@given(arrays.arrays(np.bool_, (7, 8)).filter(lambda mask: bool(mask.any() and not mask.all())))
def test_the_truth_itself_has_the_best_scores(truth: np.ndarray) -> None:
    saliency = np.uint8(255) * truth
    assert mean_absolute_error(saliency, truth) == 0
    assert f_curve(saliency, truth).max() == pytest.approx(1)
    assert s_measure(saliency, truth) >= s_measure(np.uint8(255) - saliency, truth)


def test_the_threshold_is_one_for_all_images() -> None:
    """Each image alone reaches 1, at a threshold of its own; no one threshold serves both."""
    truth = np.array([[True, False]])
    curves = np.stack([f_curve(np.array([pixels], np.uint8), truth) for pixels in ([200, 100], [90, 40])])
    assert (curves.max(1) == 1).all()
    found = max_f_interval(curves, np.array([1, 2]))
    assert found.value == curves.mean(0).max() < 1
    assert found.low <= found.value <= found.high == 1
    assert paired_max_f_interval(curves, curves, np.array([1, 2]))[:3] == (0, 0, 0)


def test_what_is_no_map_is_refused() -> None:
    with pytest.raises(BenchError, match=r"got float64 \[2, 2\] and bool \[2, 2\]"):
        s_measure(np.ones((2, 2)), np.ones((2, 2), bool))
    with pytest.raises(BenchError, match=r"got uint8 \[2, 3\] and bool \[2, 2\]"):
        f_curve(np.ones((2, 3), np.uint8), np.ones((2, 2), bool))
