"""Masks from the three ways COCO files write them: polygons, uncompressed RLE, compressed RLE.

pycocotools decides which pixels belong to a polygon. Degenerate polygons are dropped first: pycocotools takes
a polygon of four numbers for a box, rasterises NaN to whatever the processor makes of it, and may leave stray
pixels along a line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from pycocotools import mask as pycocotools_mask

from bench.metrics.rle import LONGEST_NUMBER
from models.errors import BenchError

Segmentation = list[list[float]] | dict[str, Any]
"""Polygons [x1, y1, x2, y2, ...], px, or {"size": [height, width], "counts": list of ints, or text}."""

FLAT = 1e-6
"""px. A polygon no wider than this is a line but for rounding."""
LARGEST_COORDINATE = 1e6
"""px. pycocotools walks a polygon's outline in steps of a fifth of a pixel, with 32-bit counters."""


def is_degenerate(polygon: Sequence[float]) -> bool:
    """Return whether a polygon encloses nothing: too few points, a point without y, not finite, or flat.

    Flat means that all points are on one line; a bow tie, whose halves have opposite signed areas, is not.

    >>> is_degenerate([0, 0, 4, 4]), is_degenerate([0, 0, 1, 1, 2, 2]), is_degenerate([0, 0, 4, 0, 4, 4])
    (True, True, False)
    """
    if len(polygon) < 6 or len(polygon) % 2 or not all(map(math.isfinite, polygon)):
        return True
    if max(polygon) > LARGEST_COORDINATE or min(polygon) < -LARGEST_COORDINATE:
        return True
    x0, y0 = polygon[:2]
    along_x = along_y = 0.0
    for x, y in zip(polygon[2::2], polygon[3::2], strict=True):
        x, y = x - x0, y - y0
        distance = math.hypot(x, y)
        if abs(along_x * y - along_y * x) > FLAT:
            return False
        if not (along_x or along_y) and distance > FLAT:
            along_x, along_y = x / distance, y / distance
    return True


def are_empty(polygons: Sequence[Sequence[float]], height: int, width: int) -> np.ndarray:
    """Return for each polygon, none of them degenerate, whether it covers no pixel of an image: bool [N]."""
    # toBbox, since pycocotools 2.0.11 cannot take the area of more than 255 masks at once.
    boxes_xywh = pycocotools_mask.toBbox(pycocotools_mask.frPyObjects(list(polygons), height, width))
    return np.asarray(np.asarray(boxes_xywh)[:, 2] == 0)


def to_rle(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """Return compressed RLE {"size": [height, width], "counts": bytes}; polygons are merged.

    Raises:
        BenchError: if an RLE is not of this size.
    """
    if isinstance(segmentation, dict):
        return _checked_rle(segmentation, height, width)
    polygons = [polygon for polygon in segmentation if not is_degenerate(polygon)]
    if not polygons:
        return dict(pycocotools_mask.encode(np.zeros((height, width), dtype=np.uint8, order="F")))
    return dict(pycocotools_mask.merge(pycocotools_mask.frPyObjects(polygons, height, width)))


def to_mask(segmentation: Segmentation, height: int, width: int) -> np.ndarray:
    """Return the mask bool [height, width].

    Raises:
        BenchError: if an RLE is not of this size.
    """
    return np.asarray(pycocotools_mask.decode(to_rle(segmentation, height, width))).astype(bool)


def run_lengths(text: bytes) -> list[int]:
    """Return the run lengths that compressed RLE counts stand for, background first.

    Five bits a character, lowest first; bit 5 is set on all but a number's last character, whose bit 4 is the
    sign; from the fourth number on it is the difference to the number two before.

    Raises:
        BenchError: if a character is none of the 64 from "0" on, a number is longer than maskApi.c can shift, or the
            text ends within a number. pycocotools reads other characters as one of the 64, in silence.

    >>> run_lengths(b"52203")
    [5, 2, 2, 2, 5]
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = character - 48
        if not 0 <= code < 64:
            raise BenchError(f"its compressed RLE has the byte {bytes([character])!r}, which is none of '0' to 'o'")
        value |= (code & 31) << shift
        shift += 5
        if shift > 5 * LONGEST_NUMBER:
            raise BenchError(f"its compressed RLE has a number of more than {LONGEST_NUMBER} characters")
        if not code & 32:
            value -= (code & 16) << (shift - 4)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise BenchError("its compressed RLE ends within a number")
    return runs


def whole_numbers(values: Sequence[Any], what: str) -> list[int]:
    """Return numbers of pixels, such as uncompressed RLE counts, as integers; 3.0 is 3, as pycocotools takes it.

    Raises:
        BenchError: if one is no number, has a fraction, or has more than 32 bits.
    """
    for value in values:
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not abs(value) < 1 << 32 or value != int(value):
            raise BenchError(f"its RLE has {what} {value!r}, which is no whole number of pixels below 2^32")
    return [int(value) for value in values]


def _checked_rle(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    counts = segmentation["counts"]
    size = whole_numbers(segmentation["size"], "the size")
    if size != [height, width]:
        raise BenchError(f"its RLE is of size {size} (height, width), its image {[height, width]}")
    text = counts.encode(errors="surrogatepass") if isinstance(counts, str) else counts
    runs = run_lengths(text) if isinstance(text, bytes) else whole_numbers(text, "the count")
    # pycocotools does not check: pixels beyond the last run would be whatever the memory held before.
    if min(runs, default=0) < 0:
        raise BenchError(f"its RLE counts have a run of {min(runs):,} pixels")
    if sum(runs) != height * width:
        raise BenchError(f"its RLE counts {sum(runs):,} pixels, its image has {height * width:,}")
    if isinstance(text, bytes):
        return {"size": size, "counts": text}
    return dict(pycocotools_mask.frPyObjects({"size": size, "counts": runs}, height, width))


def joined(groups: Sequence[np.ndarray]) -> np.ndarray:
    """Join masks [P, H, W] of one image; they then lie column by column in memory, as pycocotools makes and reads them.

    Operations on two masks are several times as fast where both lie in the same order.
    """
    return np.concatenate([masks.swapaxes(1, 2) for masks in groups]).swapaxes(1, 2)


def stacked(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Stack masks [H, W] likewise."""
    return np.stack([mask.T for mask in masks]).swapaxes(1, 2)
