"""Blobs of 8 to 350 px as polygons and as run lengths, anywhere in an image, a million in seconds.

Moving a mask changes the first and the last of its run lengths only, so each blob is drawn once for images of a height.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from pycocotools import mask as rle

SIDES = np.geomspace(8, 350, 128)
"""Of blobs, px; neighbours resemble each other."""
CORNERS = 32


class _Blob(NamedTuple):
    """A blob in the corner of an image of some height, and its run lengths, of which only two depend on the place."""

    polygon: np.ndarray
    """float64 [CORNERS, 2], px."""
    box: tuple[int, int, int, int]
    """x, y, width, height, px."""
    area: int
    runs: list[int]
    """All but the first and last."""
    text: str
    """`runs` compressed, as JSON has it."""
    first: int
    covered: int
    """Pixels of `runs` together."""


@cache
def _blob(place: int, height: int) -> _Blob:
    side = SIDES[place]
    angle = np.arange(CORNERS) * (2 * np.pi / CORNERS)
    radius = 1 + sum(0.12 / k * np.cos(k * angle + k * k + place / 12) for k in range(2, 7))
    stretch = np.array([1.0, 0.75 + 0.25 * np.sin(place / 9)])
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1) * stretch
    points = np.round((points / np.abs(points).max() + 1) * side / 2 + 1, 2)
    compressed = rle.frPyObjects([points.ravel().tolist()], height, int(np.ceil(side)) + 2)[0]
    text = compressed["counts"].decode()
    runs = np.diff(np.flatnonzero(np.diff(rle.decode(compressed).ravel(order="F"), prepend=2)))  # without the last
    begin = next(i for i, character in enumerate(text) if not (ord(character) - 48) & 32) + 1
    end = len(text) - 1
    while (ord(text[end - 1]) - 48) & 32:
        end -= 1
    box = tuple(int(number) for number in rle.toBbox(compressed))
    return _Blob(
        points,
        box,
        int(rle.area(compressed)),
        runs[1:].tolist(),
        _json(text[begin:end]),
        int(runs[0]),
        int(runs[1:].sum()),
    )


def _json(text: str) -> str:
    return text.replace("\\", "\\\\")


@cache
def _compressed(number: int) -> str:
    """Return a run length compressed, as JSON has it: 5 bits a character, lowest first, bit 32 if more follow."""
    text, more = "", True
    while more:
        bits, number = number & 31, number >> 5
        more = number != (-1 if bits & 16 else 0)
        text += chr(48 + (bits | 32 * more))
    return _json(text)


def box(height: int, side: int, x: int, y: int) -> list[int]:
    """Return x, y, width and height of the pixels, in an image of that height, with the blob's corner at (x, y)."""
    left, top, width, tall = _blob(side, height).box
    return [left + x, top + y, width, tall]


def area(height: int, side: int) -> int:
    """Return the area, px."""
    return _blob(side, height).area


def polygon(height: int, side: int, x: int, y: int) -> list[float]:
    """Return the outline, x1, y1, x2, y2, ... px."""
    points: list[float] = np.round(_blob(side, height).polygon + np.array([x, y]), 2).ravel().tolist()
    return points


def runs(height: int, width: int, side: int, x: int, y: int) -> list[int]:
    """Return the run lengths of the mask, down the columns, 0 first."""
    blob = _blob(side, height)
    first = blob.first + x * height + y
    return [first, *blob.runs, height * width - first - blob.covered]


def counts(height: int, width: int, side: int, x: int, y: int) -> str:
    """Return `runs` compressed, as JSON has it."""
    blob = _blob(side, height)
    first = blob.first + x * height + y
    # From the fourth on, a run is written as the difference to the one two before.
    last = height * width - first - blob.covered - blob.runs[-2]
    return f"{_compressed(first)}{blob.text}{_compressed(last)}"
