"""Answers at the photo's own size, areas as mmsegmentation's metric and ten lines of numpy count them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from bench.metrics.miou import class_iou, mean_iou
from models.errors import BenchError
from models.mask2former.evaluate import areas, predict, resized_size
from tests.models.mask2former.toys import TOY, toy_network


def confusion(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Return pixels [true class, predicted class]."""
    counts = np.zeros((classes, classes), np.int64)
    known = truth != 255
    np.add.at(counts, (truth[known], predicted[known]), 1)
    return counts


def maps(seed: int, classes: int = 7):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (30, 40), dtype=np.uint8)
    predicted = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    return predicted, truth


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_iou_by_class_equals_a_confusion_matrix(seed) -> None:
    predicted, truth = maps(seed)
    counts = confusion(predicted, truth, 9)  # two classes that are nowhere
    intersection, union = areas(predicted, truth, 9)
    np.testing.assert_array_equal(intersection, counts.diagonal())
    np.testing.assert_array_equal(union, counts.sum(0) + counts.sum(1) - counts.diagonal())
    assert np.isnan(class_iou(intersection, union)[7:]).all()


def test_mean_iou_is_that_of_mmsegmentation_s_metric() -> None:
    from mmseg.evaluation.metrics import IoUMetric

    metric = IoUMetric(ignore_index=255, iou_metrics=["mIoU"])
    metric.dataset_meta = {"classes": tuple("abcdefg")}
    ours = np.zeros((2, 7), np.int64)
    for seed in range(4):
        predicted, truth = (torch.from_numpy(m.astype(np.int64)) for m in maps(seed))
        metric.process({}, [{"pred_sem_seg": {"data": predicted[None]}, "gt_sem_seg": {"data": truth[None]}}])
        ours += np.stack(areas(*maps(seed), 7))
    assert metric.evaluate(4)["mIoU"] == pytest.approx(100 * float(mean_iou(*ours)), abs=0.006)  # theirs has two digits


@pytest.mark.parametrize("height,width", [(64, 64), (50, 91), (131, 77)])
def test_an_answer_has_the_photo_s_size(height, width) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    answer = predict(toy_network(), photo)
    assert (answer.shape, answer.dtype) == ((height, width), np.uint8)
    assert answer.max() < 17
    np.testing.assert_array_equal(answer, predict(toy_network(), photo))


def test_photos_keep_their_proportions_and_the_longest_side_is_bounded() -> None:
    sizes = replace(TOY, test_shorter_side=512, test_longer_side=2048)
    assert resized_size(sizes, 683, 512) == (683, 512)
    assert resized_size(sizes, 300, 600) == (512, 1024)
    assert resized_size(sizes, 1000, 100) == (2048, 205)


def test_logits_that_are_not_finite_are_an_error() -> None:
    network = toy_network()
    network.decode_head.mask_embed[4].bias.data.fill_(float("nan"))
    with pytest.raises(BenchError, match="NaN or infinite"):
        predict(network, np.zeros((64, 64, 3), np.uint8))
