"""What a photo looks like with masks over it."""

from __future__ import annotations

import numpy as np

from bench.overlay import colour, overlay

PHOTO = np.full((40, 60, 3), 100, np.uint8)


def square(y: int, x: int, side: int) -> np.ndarray:
    mask = np.zeros(PHOTO.shape[:2], bool)
    mask[y : y + side, x : x + side] = True
    return mask


def test_a_mask_is_tinted_in_its_colour_with_a_full_outline_and_nothing_else_changes() -> None:
    mask = square(5, 10, 8)
    drawn = overlay(PHOTO, [(3, mask)])
    assert tuple(drawn[5, 10]) == tuple(drawn[12, 17]) == colour(3)
    np.testing.assert_array_equal(drawn[8, 14], np.rint(0.55 * 100 + 0.45 * np.array(colour(3))))
    np.testing.assert_array_equal(drawn[~mask], PHOTO[~mask])
    assert (PHOTO == 100).all()


def test_later_masks_lie_above_and_colours_depend_on_the_number_alone() -> None:
    drawn = overlay(PHOTO, [(0, square(0, 0, 30)), (1, square(10, 10, 5))])
    assert tuple(drawn[10, 10]) == colour(1)
    np.testing.assert_array_equal(drawn, overlay(PHOTO, [(0, square(0, 0, 30)), (1, square(10, 10, 5))]))


def test_the_first_hundred_colours_differ() -> None:
    assert len({colour(number) for number in range(100)}) == 100


def test_boxes_and_clicks_are_drawn_and_empty_masks_are_not() -> None:
    drawn = overlay(
        PHOTO,
        [(0, np.zeros(PHOTO.shape[:2], bool))],
        boxes_xyxy=[[2, 3, 20, 30]],
        clicks=[(40.0, 20.0, 1), (50.0, 10.0, 0)],
    )
    assert tuple(drawn[3, 10]) == tuple(drawn[15, 2]) == (255, 255, 255)
    assert drawn[20, 40].argmax() == 1
    assert drawn[10, 50].argmax() == 0
    assert tuple(drawn[35, 55]) == (100, 100, 100)
