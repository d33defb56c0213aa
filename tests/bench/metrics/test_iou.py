import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as mask_utils

from bench.metrics.iou import mask_iou
from models.errors import BenchError

PAIRS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda size: st.tuples(arrays(np.bool_, size), arrays(np.bool_, size))
)


@given(PAIRS)
def test_iou_is_symmetric_and_between_0_and_1(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    assert mask_iou(first, second) == mask_iou(second, first)
    assert 0 <= mask_iou(first, second) <= 1


@given(PAIRS)
def test_iou_is_1_exactly_for_equal_masks_that_are_not_empty(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = pair
    assert (mask_iou(first, second) == 1) == (np.array_equal(first, second) and bool(first.any()))


@settings(max_examples=50)
@given(PAIRS)
def test_iou_is_that_of_pycocotools(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = (mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in pair)
    assert mask_iou(*pair) == mask_utils.iou([first], [second], [0])[0, 0]


def test_two_empty_masks_have_iou_0() -> None:
    empty = np.zeros((4, 5), dtype=bool)
    assert mask_iou(empty, empty) == 0


def test_a_batch_is_scored_as_its_masks_one_by_one_against_one_truth_or_against_their_own() -> None:
    rng = np.random.default_rng(0)
    predictions, truths = rng.random((2, 6, 3, 20, 30)) < 0.5
    own = mask_iou(predictions, truths)
    assert own.shape == (6, 3)
    assert own.dtype == np.float64
    for place in np.ndindex(6, 3):
        assert own[place] == mask_iou(predictions[place], truths[place])
        assert mask_iou(predictions, truths[0, 0])[place] == mask_iou(predictions[place], truths[0, 0])
        assert mask_iou(predictions, truths[:, :1])[place] == mask_iou(predictions[place], truths[place[0], 0])


def test_masks_in_column_order_are_scored_as_masks_in_row_order() -> None:
    prediction, truth = np.random.default_rng(0).random((2, 20, 30)) < 0.5
    assert mask_iou(np.asfortranarray(prediction), truth) == mask_iou(prediction, truth)


def test_no_predictions_have_no_iou() -> None:
    assert mask_iou(np.zeros((0, 4, 5), dtype=bool), np.zeros((4, 5), dtype=bool)).shape == (0,)


def test_logits_are_refused_because_every_one_but_0_would_count_as_set() -> None:
    with pytest.raises(BenchError, match="threshold the logits first"):
        mask_iou(np.zeros((4, 5), dtype=np.float32), np.zeros((4, 5), dtype=bool))


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 5), (4, 5, 1), (5,)])
def test_masks_of_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BenchError, match="cannot be compared"):
        mask_iou(np.zeros((2, 4, 5), dtype=bool), np.zeros(shape, dtype=bool))


def test_metrics_do_not_import_torch() -> None:
    modules = "ap, ap_averages, ap_bootstrap, ap_results, ap_truth, interval, iou, rle"
    code = f"from bench.metrics import {modules}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
