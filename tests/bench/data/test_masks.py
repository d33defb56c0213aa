import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as pycocotools_mask

from bench.data.masks import are_empty, is_degenerate, run_lengths, to_mask, to_rle
from models.errors import BenchError

HEIGHT, WIDTH = 30, 40
SQUARE = [5.0, 5.0, 15.0, 5.0, 15.0, 15.0, 5.0, 15.0]
COORDINATES = st.floats(-10, 50).map(lambda value: round(value, 2))
POLYGONS = st.integers(3, 8).flatmap(lambda n: st.lists(COORDINATES, min_size=2 * n, max_size=2 * n))
DEGENERATE = [
    [],
    [1.0, 2.0],
    [3.0, 4.0, 10.0, 12.0],
    [5.0, 5.0, 9.0, 9.0, 7.0],
    [1.0, 1.0, 2.0, 2.0, 3.0, 3.0],
    [0.1, 0.3, 10.1, 30.3, 5.1, 15.3, 7.1, 21.3],
    [4.0, 4.0] * 5,
    [1.0, 1.0, math.nan, 5.0, 8.0, 8.0],
    [1.0, 1.0, math.inf, 5.0, 8.0, 8.0],
    [1.0, 1.0, 1e9, 5.0, 8.0, 8.0],
]


def as_pycocotools_has_it(polygons: list[list[float]]) -> np.ndarray:
    """What COCO.annToMask does with polygons."""
    rles = pycocotools_mask.frPyObjects(polygons, HEIGHT, WIDTH)
    return np.asarray(pycocotools_mask.decode(pycocotools_mask.merge(rles))).astype(bool)


@given(st.lists(POLYGONS, min_size=1, max_size=4))
def test_polygons_that_enclose_something_become_what_pycocotools_makes_of_them(
    polygons: list[list[float]],
) -> None:
    assume(not any(map(is_degenerate, polygons)))
    np.testing.assert_array_equal(to_mask(polygons, HEIGHT, WIDTH), as_pycocotools_has_it(polygons))


@pytest.mark.parametrize("polygon", DEGENERATE)
def test_a_degenerate_polygon_changes_nothing_wherever_it_stands(polygon: list[float]) -> None:
    assert is_degenerate(polygon)
    expected = as_pycocotools_has_it([SQUARE])
    for polygons in ([polygon, SQUARE], [SQUARE, polygon]):
        np.testing.assert_array_equal(to_mask(polygons, HEIGHT, WIDTH), expected)
    assert not to_mask([polygon], HEIGHT, WIDTH).any()


@given(POLYGONS, st.integers(0, 7))
def test_a_polygon_pressed_flat_is_degenerate(polygon: list[float], slope: int) -> None:
    flat = [value for x in polygon[::2] for value in (x, slope * x + 3)]
    assert is_degenerate(flat)


def test_a_bow_tie_is_not_degenerate_although_its_signed_area_is_zero() -> None:
    tie = [2.0, 2.0, 20.0, 20.0, 20.0, 2.0, 2.0, 20.0]
    assert not is_degenerate(tie)
    assert to_mask([tie], HEIGHT, WIDTH).sum() > 100


@given(POLYGONS)
def test_emptiness_is_that_of_the_mask(polygon: list[float]) -> None:
    assume(not is_degenerate(polygon))
    assert are_empty([polygon], HEIGHT, WIDTH)[0] == (not as_pycocotools_has_it([polygon]).any())


def test_emptiness_of_a_thousand_polygons_is_found_in_one_call() -> None:
    outside = [value + 100 for value in SQUARE]
    assert are_empty([SQUARE, outside] * 500, HEIGHT, WIDTH).tolist() == [False, True] * 500


@settings(max_examples=50)
@given(arrays(bool, (HEIGHT, WIDTH)))
def test_both_kinds_of_rle_give_the_mask_back(mask: np.ndarray) -> None:
    compressed = pycocotools_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    changes = np.flatnonzero(np.diff(mask.ravel(order="F"))) + 1
    runs = np.diff([0, *changes, mask.size]).tolist()
    uncompressed = {"size": [HEIGHT, WIDTH], "counts": [0, *runs] if mask[0, 0] else runs}
    text = {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()}
    assert run_lengths(compressed["counts"]) == uncompressed["counts"]
    for rle in (compressed, text, uncompressed):
        np.testing.assert_array_equal(to_mask(rle, HEIGHT, WIDTH), mask)
        assert to_rle(rle, HEIGHT, WIDTH) == {"size": [HEIGHT, WIDTH], "counts": compressed["counts"]}


def test_whole_numbers_may_be_written_with_a_point_as_pycocotools_reads_them() -> None:
    floats = {"size": [HEIGHT, WIDTH], "counts": [304.0, 10, 886.0]}
    assert to_rle(floats, HEIGHT, WIDTH) == pycocotools_mask.frPyObjects(floats, HEIGHT, WIDTH)


def test_characters_beyond_the_alphabet_are_refused_where_pycocotools_takes_them_for_others() -> None:
    whole = pycocotools_mask.encode(np.asfortranarray(np.eye(6, 5, dtype=np.uint8)))
    alias = {"size": [6, 5], "counts": bytes([whole["counts"][0] + 64]) + whole["counts"][1:]}
    assert (pycocotools_mask.decode(alias) == pycocotools_mask.decode(whole)).all()
    with pytest.raises(BenchError, match="none of '0' to 'o'"):
        to_mask(alias, 6, 5)


@pytest.mark.parametrize(
    "rle,complaint",
    [
        ({"size": [WIDTH, HEIGHT], "counts": [HEIGHT * WIDTH]}, r"is of size \[40, 30\]"),
        ({"size": [HEIGHT, WIDTH], "counts": [5, 6]}, "counts 11 pixels, its image has 1,200"),
        ({"size": [HEIGHT, WIDTH], "counts": []}, "counts 0 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [1300, -100]}, "its RLE counts"),
        ({"size": [HEIGHT, WIDTH], "counts": "12"}, "counts 3 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": "`QU"}, "ends within a number"),
        ({"size": [HEIGHT, WIDTH], "counts": ""}, "counts 0 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [5.5, 1194.5]}, "has the count 5.5, which is no whole number of pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [math.nan, 1200]}, "has the count nan"),
        ({"size": [HEIGHT, WIDTH], "counts": [math.inf]}, "has the count inf"),
        ({"size": [HEIGHT, WIDTH], "counts": [True, 1199]}, "has the count True"),
        ({"size": [HEIGHT, WIDTH], "counts": ["5", 1195]}, "has the count '5'"),
        ({"size": [HEIGHT, WIDTH], "counts": [5, [1195]]}, r"has the count \[1195\]"),
        ({"size": [HEIGHT, WIDTH], "counts": [(1 << 32) + 1200]}, "no whole number of pixels below 2\\^32"),
        ({"size": [HEIGHT + 0.5, WIDTH], "counts": [1200]}, "has the size 30.5"),
        ({"size": [HEIGHT, WIDTH], "counts": "5/"}, "has the byte b'/', which is none of '0' to 'o'"),
        ({"size": [HEIGHT, WIDTH], "counts": "5p"}, "has the byte b'p'"),
        ({"size": [HEIGHT, WIDTH], "counts": "5 2"}, "has the byte b' '"),
        ({"size": [HEIGHT, WIDTH], "counts": "5\0"}, "has the byte b'.x00'"),
        ({"size": [HEIGHT, WIDTH], "counts": "5é"}, "has the byte"),
        ({"size": [HEIGHT, WIDTH], "counts": "\ud800"}, "has the byte"),
        ({"size": [HEIGHT, WIDTH], "counts": "PPPPPP0"}, "has a number of more than 6 characters"),
    ],
)
def test_an_rle_that_does_not_fit_is_an_error(rle: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BenchError, match=complaint):
        to_mask(rle, HEIGHT, WIDTH)
