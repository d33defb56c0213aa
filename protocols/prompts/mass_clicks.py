"""segment-anything-fast's click: the centre of mass, or where that lies outside the mask, a pixel far from edges.

As its evaluator places it (pytorch-labs/segment-anything-fast e6aadeb, experiments/data.py 35-39 and 57-117).
"""

from __future__ import annotations

import numpy as np

from protocols.prompts.random_clicks import deepest

FAR_ENOUGH = 20
"""px from the nearest edge at which the published search leaves a row. Rows after it are searched for one pixel
each, the first of the mask, which has an edge beside it: so that the first pixel this far is the last found."""


def mass_click(mask: np.ndarray) -> np.ndarray:
    """Return the click (x, y) float32 [2] on a mask bool [H, W] that is not empty.

    The centre of mass is rounded, halves to even.
    """
    y, x = (round(float(places.mean())) for places in np.nonzero(mask))
    if mask[y, x]:
        return np.array([x, y], np.float32)
    return deepest(np.minimum(clearance(mask), FAR_ENOUGH))


def clearance(mask: np.ndarray) -> np.ndarray:
    """Return int64 [H, W]: how many pixels of the mask follow up, right, down or left of each, the fewest; -1 outside.

    >>> clearance(np.array([[True, True, True], [True, True, True], [True, True, True], [False, True, True]])).tolist()
    [[0, 0, 0], [0, 1, 0], [0, 1, 0], [-1, 0, 0]]
    """
    ways = [_before(mask), _before(mask[::-1])[::-1], _before(mask.T).T, _before(mask.T[::-1])[::-1].T]
    return np.minimum.reduce(ways)  # type: ignore[no-any-return]


def _before(mask: np.ndarray) -> np.ndarray:
    """Return int64 [H, W]: how many pixels of the mask lie above each without a gap; -1 outside."""
    rows = np.arange(len(mask))[:, None]
    last_gap = np.maximum.accumulate(np.where(mask, -1, rows), axis=0)
    return rows - last_gap - 1  # type: ignore[no-any-return]
