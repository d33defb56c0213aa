"""Boundary bands are those of the published code and of faster-coco-eval."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as rle

from bench.metrics.boundary import band_width, boundary_band, boundary_iou
from tests.protocols.fakes import disc

masks = hnp.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def eroded(mask, width):
    """Erode a mask by 3 x 3 pixels, again and again, with background all around the image: the words of the paper."""
    padded = np.pad(mask, 1)
    for _ in range(width):
        inner = padded.copy()
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                inner &= np.roll(padded, (down, right), (0, 1))
        padded = np.pad(inner[1:-1, 1:-1], 1)
    return padded[1:-1, 1:-1]


@given(masks, st.integers(1, 5))
def test_the_band_is_what_erosion_takes_away(mask, width):
    np.testing.assert_array_equal(boundary_band(mask, width), mask & ~eroded(mask, width))


@given(masks, st.integers(1, 5))
def test_a_wider_band_holds_the_narrower_one_and_stays_in_the_mask(mask, width):
    narrow, wide = boundary_band(mask, width), boundary_band(mask, width + 1)
    assert not (narrow & ~wide).any()
    assert not (wide & ~mask).any()
    assert narrow.any() == mask.any()


@given(masks)
def test_a_mask_has_boundary_iou_1_with_itself_and_an_empty_one_0(mask):
    assert boundary_iou(mask[None], mask[None])[0] == float(mask.any())
    assert boundary_iou(np.zeros_like(mask)[None], mask[None])[0] == 0


@pytest.fixture
def pairs():
    """Masks of a size whose band is 3 px wide: discs, one of them cut by the border, and pieces."""
    size = (90, 130)
    rng = np.random.default_rng(0)
    truths = [disc(40, 40, 30, size), disc(2, 60, 40, size), disc(80, 45, 3, size), rng.random(size) > 0.3]
    predictions = [disc(43, 38, 28, size), disc(5, 58, 44, size), disc(82, 45, 5, size), rng.random(size) > 0.3]
    return np.stack(predictions), np.stack(truths)


def test_bands_are_those_of_opencv_s_erosion(pairs):
    cv2 = pytest.importorskip("cv2")
    width = band_width((90, 130))
    assert width == 3
    for mask in (*pairs[0], *pairs[1]):
        ring = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        inner = cv2.erode(ring, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1].astype(bool)
        np.testing.assert_array_equal(boundary_band(mask, width), mask & ~inner)


def test_boundary_iou_is_that_of_faster_coco_eval(pairs):
    reference = pytest.importorskip("faster_coco_eval.core.mask")
    bands = [
        [reference.rleToBoundary(rle.encode(np.asfortranarray(mask.astype(np.uint8))), 0.02) for mask in masks]
        for masks in pairs
    ]
    expected = np.diag(reference.iou(bands[0], bands[1], [0] * len(bands[1])))
    np.testing.assert_allclose(boundary_iou(*pairs), expected, rtol=0, atol=1e-12)
    assert 0.2 < expected.min() < expected.max() < 1
