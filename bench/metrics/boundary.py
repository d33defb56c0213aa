"""Boundary IoU (Cheng et al. 2021, arXiv:2103.16562): IoU of the bands along the inside of two masks' outlines."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_cdt

RATIO = 0.02
"""Width of the band as a share of the image's diagonal (section 4 of the paper, and its published code)."""


def band_width(size: tuple[int, int]) -> int:
    """Return the width of the band in an image of (height, width), px; at least 1.

    >>> band_width((480, 640)), band_width((10, 10))
    (16, 1)
    """
    return max(1, round(RATIO * float(np.sqrt(size[0] ** 2 + size[1] ** 2))))


def boundary_band(mask: np.ndarray, width: int) -> np.ndarray:
    """Return the pixels bool [H, W] of a mask that lie within `width` of its outside, the image's border included.

    The published code erodes `width` times by 3 x 3 pixels, after a ring of background was put around the image: what
    that takes away has a chessboard distance of at most `width` to the outside.
    """
    band = np.zeros_like(mask)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows):
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        depth = distance_transform_cdt(np.pad(mask[box], 1), metric="chessboard")[1:-1, 1:-1]
        band[box] = mask[box] & (depth <= width)
    return band


def boundary_iou(predictions: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Return the boundary IoU of predicted masks with their truths.

    Two empty masks have 0, as in `bench.metrics.iou`.

    Args:
        predictions: bool [P, H, W].
        truths: bool [P, H, W].

    Returns:
        float64 [P], 0..1.
    """
    width = band_width((truths.shape[1], truths.shape[2]))
    values = np.zeros(len(truths))
    for index, pair in enumerate(zip(predictions, truths, strict=True)):
        ours, theirs = (boundary_band(mask, width) for mask in pair)
        union = np.count_nonzero(ours | theirs)
        values[index] = np.count_nonzero(ours & theirs) / union if union else 0.0
    return values
