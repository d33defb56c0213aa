"""Boxes: the tight box of a mask, and the two written forms of a box."""

from __future__ import annotations

import numpy as np

from models.errors import BenchError


def tight_box_xyxy(mask: np.ndarray) -> np.ndarray:
    """Return the smallest box [4] float64 that holds a mask bool [H, W], px.

    The corners are those of the pixels' squares: x2 and y2 are the last column and row plus one, so that one
    pixel has a box of area 1, as in pycocotools' toBbox. The paper prompts with "the tightest box" and is
    silent on which of the two conventions (last pixel, or last plus one) that is: our choice.

    Raises:
        BenchError: if the mask is empty.

    >>> tight_box_xyxy(np.array([[False, False, False], [False, True, True]])).tolist()
    [1.0, 1.0, 3.0, 2.0]
    """
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        raise BenchError("an empty mask has no tight box: skip annotations without a visible pixel")
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def xywh_to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """Turn boxes [..., 4] from COCO's written form (x, y, width, height) into xyxy."""
    return np.concatenate([boxes_xywh[..., :2], boxes_xywh[..., :2] + boxes_xywh[..., 2:]], axis=-1)


def clip_xyxy(boxes_xyxy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clip boxes [..., 4] to an image of `size` (height, width), px."""
    height, width = size
    return np.asarray(np.clip(boxes_xyxy, 0, (width, height, width, height)))
