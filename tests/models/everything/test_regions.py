"""Small holes and islands go as in the published code, which counts with OpenCV."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from segment_anything.utils.amg import remove_small_regions

from models.everything.regions import without_small_regions

MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans())


@given(MASKS, st.integers(1, 12))
def test_masks_become_the_published_ones(mask: np.ndarray, min_area: int) -> None:
    pytest.importorskip("cv2", reason="the published code counts regions with OpenCV")
    filled, had_holes = remove_small_regions(mask, min_area, "holes")
    expected, had_islands = remove_small_regions(filled, min_area, "islands")
    cleaned, changed = without_small_regions(mask, min_area)
    np.testing.assert_array_equal(cleaned, expected)
    assert changed == (had_holes or had_islands)


def test_the_first_of_equal_islands_stays_in_the_order_of_blocks_of_two_rows() -> None:
    mask = np.zeros((8, 8), bool)
    mask[1, 0] = mask[0, 5] = True  # by rows of pixels the right one is first, by blocks the left one
    cleaned, changed = without_small_regions(mask, 5)
    assert changed
    assert np.argwhere(cleaned).tolist() == [[1, 0]]


@given(MASKS, st.integers(1, 12))
def test_nothing_small_is_left_but_the_last_island(mask: np.ndarray, min_area: int) -> None:
    cleaned, changed = without_small_regions(mask, min_area)
    assert cleaned.any() or not mask.any()
    again, changed_again = without_small_regions(cleaned, min_area)
    if cleaned.sum() >= min_area:
        np.testing.assert_array_equal(again, cleaned)
        assert not changed_again
    if not changed:
        assert cleaned is mask
