"""Small holes and islands of masks, taken away as `remove_small_regions` of segment_anything 1.0 does.

It counts with OpenCV; here it is SciPy, whose regions are the same but in another order. The order shows in one case:
of several islands, all too small, the largest stays, and the first of equals.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

_TOUCHING = np.ones((3, 3), dtype=bool)
"""Pixels that meet in a corner are of one region."""


def without_small_regions(mask: np.ndarray, min_area: int) -> tuple[np.ndarray, bool]:
    """Fill holes of less than `min_area` pixels, then remove islands of less, but never the largest one.

    Args:
        mask: bool [H, W].
        min_area: px.

    Returns:
        The mask bool [H, W], and whether there was anything to change.
    """
    filled, had_holes = _without_holes(mask, min_area)
    cleaned, had_islands = _without_islands(filled, min_area)
    return cleaned, had_holes or had_islands


def _without_holes(mask: np.ndarray, min_area: int) -> tuple[np.ndarray, bool]:
    regions, areas = _regions(~mask)
    small = areas < min_area  # the first is the mask itself
    small[0] = False
    return (mask | small[regions], True) if small.any() else (mask, False)


def _without_islands(mask: np.ndarray, min_area: int) -> tuple[np.ndarray, bool]:
    regions, areas = _regions(mask)
    areas[0] = 0
    large = areas >= min_area
    large[0] = False
    if large[1:].all():
        return mask, False
    if not large.any():
        largest = np.flatnonzero(areas == areas.max())
        large[largest[0] if len(largest) == 1 else _first_in_blocks(regions, largest)] = True
    return large[regions], True


def _regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the regions of a mask from 1, 0 elsewhere; return the numbers [H, W] and the area of each number."""
    regions, count = ndimage.label(mask, structure=_TOUCHING)
    return regions, np.bincount(regions.ravel(), minlength=count + 1)


def _first_in_blocks(regions: np.ndarray, numbers: np.ndarray) -> int:
    """Return the region that comes first in OpenCV's order, which goes row by row through blocks of 2 x 2 pixels."""
    rows, columns = np.nonzero(np.isin(regions, numbers))
    first = np.lexsort((columns // 2, rows // 2))[0]
    return int(regions[rows[first], columns[first]])
