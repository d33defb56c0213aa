"""Masks as records: run lengths, boxes and stability are those of segment_anything and pycocotools."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_rle
from segment_anything.utils import amg

from models import zoo
from models.annotations import annotation, answer, boxes_of, decode, encode, encode_all, stability_scores
from models.segmenter import Prompts
from tests.models.recipe import image

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))
MASKS = arrays(bool, SHAPES, elements=st.booleans())


@given(MASKS)
def test_run_lengths_are_the_published_ones_and_come_back(masks: np.ndarray) -> None:
    for mask, runs in zip(masks, amg.mask_to_rle_pytorch(torch.from_numpy(masks)), strict=True):
        rle = encode(mask)
        assert rle == amg.coco_encode_rle(runs)
        np.testing.assert_array_equal(decode(rle), mask)


@given(MASKS, st.integers(0, 9), st.integers(0, 9))
def test_a_mask_in_a_crop_is_that_of_the_image_with_nothing_around_it(masks: np.ndarray, x: int, y: int) -> None:
    height, width = masks.shape[1:]
    whole = np.zeros((height + 9, width + 9), bool)
    whole[y : y + height, x : x + width] = masks[0]
    assert encode(masks[0], whole.shape, (x, y)) == encode(whole)


@given(MASKS)
def test_boxes_are_the_published_ones(masks: np.ndarray) -> None:
    np.testing.assert_array_equal(boxes_of(masks), amg.batched_mask_to_box(torch.from_numpy(masks)))
    (x0, y0, x1, y1), record = boxes_of(masks[:1])[0], annotation(masks[0])
    assert record["bbox"] == [x0, y0, x1 - x0, y1 - y0]
    assert record["area"] == masks[0].sum()


@given(arrays(np.float32, SHAPES, elements=st.floats(-3, 3, width=32)), st.floats(0, 2))
def test_stability_is_the_published_one_to_the_bit(logits: np.ndarray, offset: float) -> None:
    upscaled = torch.from_numpy(logits)
    expected = amg.calculate_stability_score(upscaled, 0.0, offset)
    torch.testing.assert_close(stability_scores(upscaled, offset), expected, rtol=0, atol=0, equal_nan=True)


def test_a_prompt_is_answered_with_the_candidate_of_the_highest_predicted_iou() -> None:
    segmenter = zoo.load("sam-micro")
    photo = image(120, 90)
    (embedding,) = segmenter.embed([photo])
    prompts = Prompts.from_boxes([[10, 10, 50, 60], [0, 0, 90, 120]])
    logits, ious = segmenter.segment(embedding, prompts)
    masks = segmenter.masks(logits, (120, 90)).numpy()
    found = answer(segmenter, embedding, prompts)
    for row, one in enumerate(found):
        best = int(ious[row].argmax())
        np.testing.assert_array_equal(decode(one["segmentation"]), masks[row, best])
        assert one["predicted_iou"] == float(ious[row, best])
        assert 0 <= one["stability_score"] <= 1
    assert found[1]["point_coords"] == [[0, 0], [90, 120]]
    assert found[1]["crop_box"] == [0, 0, 90, 120]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 4), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_many_masks_at_once_have_pycocotools_run_lengths(
    count: int, height: int, width: int, share: float, seed: int, by_column: bool
) -> None:
    """Empty and full masks among them, in either order of memory."""
    masks = np.random.default_rng(seed).random((count, height, width)) < share
    masks = masks.swapaxes(1, 2).copy().swapaxes(1, 2) if by_column else masks
    expected = [coco_rle.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    found = encode_all(masks)
    assert [one["counts"].encode() for one in found] == [one["counts"] for one in expected]
    assert all(one["size"] == [height, width] for one in found)
