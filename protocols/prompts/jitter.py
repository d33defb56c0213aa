"""Boxes and clicks that miss a little: moved by a share of the object's box, drawn from a seed.

The draws belong to the object alone, so that every model is asked with the same ones, and a larger share moves a prompt
farther in the same direction.
"""

from __future__ import annotations

import numpy as np

from bench.draws import Draws

SHARES = (5, 10, 20)
"""Percent of the object's box by which table `robustness` moves prompts at most."""
_BOX, _CLICK = 2**32, 2**32 + 1
"""Names of the draws; no draw of clicks has such a position."""


def jittered_boxes(boxes: np.ndarray, share: float, ids: np.ndarray, seed: int, size: tuple[int, int]) -> np.ndarray:
    """Return boxes [P, 4] (xyxy, px) of which each side is moved by up to `share` of the box's width or height.

    They are clipped to the image; with shares below 0.5 no side passes the opposite one.

    Args:
        boxes: float [P, 4], xyxy, px.
        share: 0..0.5, of the width for left and right, of the height for top and bottom.
        ids: int [P], of the objects.
        seed: of the run.
        size: (height, width) of the image, px.
    """
    moves = _moves(_BOX, ids, seed, 4) * share  # [P, 4]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)  # width, height, width, height
    height, width = size
    return (boxes + moves * sides).clip(0, [width, height, width, height])


def jittered_clicks(
    clicks: np.ndarray, boxes: np.ndarray, share: float, ids: np.ndarray, seed: int, size: tuple[int, int]
) -> np.ndarray:
    """Return clicks [P, 2] (x, y, px) moved by up to `share` of the box's width and height, inside the image.

    A click may so leave its object, as a hand's does.

    Args:
        clicks: float [P, 2], (x, y), px.
        boxes: float [P, 4], xyxy, px, of the objects.
        share: 0..1.
        ids: int [P], of the objects.
        seed: of the run.
        size: (height, width) of the image, px.
    """
    moves = _moves(_CLICK, ids, seed, 2) * share
    height, width = size
    return np.round(clicks + moves * (boxes[:, 2:] - boxes[:, :2])).clip(0, [width - 1, height - 1])


def _moves(name: int, ids: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Return draws from [-1, 1) for each object, float64 [P, count]."""
    return np.stack([2 * Draws(seed, name, int(one)).uniforms(count) - 1 for one in ids])
