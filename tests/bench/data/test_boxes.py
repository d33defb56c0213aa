import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as pycocotools_mask

from bench.data.boxes import clip_xyxy, tight_box_xyxy, xywh_to_xyxy
from models.errors import BenchError

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(lambda mask: bool(mask.any()))


@given(MASKS)
def test_the_tight_box_holds_the_mask_and_no_smaller_one_does(mask: np.ndarray) -> None:
    box = tight_box_xyxy(mask)
    x1, y1, x2, y2 = box.astype(int)
    inside = np.zeros_like(mask)
    inside[y1:y2, x1:x2] = True
    assert not (mask & ~inside).any()
    for side in (mask[y1, :], mask[y2 - 1, :], mask[:, x1], mask[:, x2 - 1]):
        assert side.any()
    assert box.dtype == np.float64


@given(MASKS)
def test_the_tight_box_is_that_of_pycocotools(mask: np.ndarray) -> None:
    x, y, width, height = pycocotools_mask.toBbox(pycocotools_mask.encode(np.asfortranarray(mask, dtype=np.uint8)))
    assert tight_box_xyxy(mask).tolist() == [x, y, x + width, y + height]


def test_an_empty_mask_has_no_tight_box() -> None:
    with pytest.raises(BenchError, match="empty mask has no tight box"):
        tight_box_xyxy(np.zeros((3, 4), dtype=bool))


COORDINATES = st.floats(-50, 50)


@given(arrays(np.float64, (3, 4), elements=COORDINATES), st.integers(1, 40), st.integers(1, 40))
def test_clipped_boxes_are_inside_and_boxes_inside_do_not_change(boxes: np.ndarray, height: int, width: int) -> None:
    clipped = clip_xyxy(boxes, (height, width))
    assert (clipped >= 0).all()
    assert (clipped[:, ::2] <= width).all()
    assert (clipped[:, 1::2] <= height).all()
    np.testing.assert_array_equal(clip_xyxy(clipped, (height, width)), clipped)
    np.testing.assert_array_equal(clipped[boxes == clipped], boxes[boxes == clipped])


def test_width_and_height_become_the_far_corner() -> None:
    assert xywh_to_xyxy(np.array([[1.0, 2.0, 3.0, 4.5], [0.0, 0.0, 0.0, 1.0]])).tolist() == [
        [1, 2, 4, 6.5],
        [0, 0, 0, 1],
    ]
