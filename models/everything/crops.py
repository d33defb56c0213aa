"""Where everything is looked for: crops of the image in layers, and a grid of points in each.

The numbers are those of `segment_anything.utils.amg` 1.0: layer n has (2^n)^2 crops, column by column, that overlap by
a share of the image's short side that halves with each layer.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

EDGE = 20
"""A box nearer to its crop's edge than this, or as near, was cut by it, px."""


class Crop(NamedTuple):
    """A part of an image, px."""

    layer: int
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Its corners, px of the image."""
        return self[1:]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.y1 - self.y0, self.x1 - self.x0


def crops_of(size: tuple[int, int], layers: int, overlap_ratio: float) -> list[Crop]:
    """Return the whole image of (height, width) `size`, then the crops of each layer.

    >>> [crop.box_xyxy for crop in crops_of((60, 90), 1, 0.5)]
    [(0, 0, 90, 60), (0, 0, 60, 45), (0, 15, 60, 60), (30, 0, 90, 45), (30, 15, 90, 60)]
    """
    crops = [Crop(0, 0, 0, size[1], size[0])]
    for layer in range(1, layers + 1):
        a_side = 2**layer
        overlap = int(overlap_ratio * min(size) * (2 / a_side))
        height, width = (math.ceil((overlap * (a_side - 1) + length) / a_side) for length in size)
        corners = itertools.product(
            range(0, (width - overlap) * a_side, width - overlap),
            range(0, (height - overlap) * a_side, height - overlap),
        )
        crops += [
            Crop(layer, x, y, min(x + width, size[1]), min(y + height, size[0]))
            for x, y in corners
            if x < size[1] and y < size[0]  # not so where an image has fewer pixels than crops
        ]
    return crops


def grid(points_per_side: int) -> np.ndarray:
    """Return points (x, y) float64 [n * n, 2] in the middles of n x n cells of a square of side 1, row by row.

    >>> grid(2).tolist()
    [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    """
    first = 1 / (2 * points_per_side)
    middles = np.linspace(first, 1 - first, points_per_side)
    x, y = np.meshgrid(middles, middles)
    return np.stack([x, y], -1).reshape(-1, 2)


def points_in(crop: Crop, points_per_side: int, downscale: int) -> np.ndarray:
    """Return a crop's points float64 [P, 2], (x, y) in px of the crop: `downscale` times fewer a side each layer."""
    height, width = crop.size
    return grid(max(1, int(points_per_side / downscale**crop.layer))) * np.array([width, height])


def are_cut(boxes: np.ndarray, crop: Crop, size: tuple[int, int]) -> np.ndarray:
    """Return which boxes have a side at the crop's edge that is not at the edge of the image, bool [N].

    Args:
        boxes: [N, 4] xyxy, px of the image.
        crop: that they were found in.
        size: (height, width) of the image, px.
    """
    to_crop, to_image = (np.abs(boxes - np.array(edges)) for edges in (crop.box_xyxy, (0, 0, size[1], size[0])))
    return np.asarray(((to_crop <= EDGE) & (to_image > EDGE)).any(1))
