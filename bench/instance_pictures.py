"""Pictures of one object: the photo with what was asked, the truth, and what A and B answered, cut out around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.overlay import overlay

MARGIN = 0.25
"""Room around what is shown, as a share of its longer side."""
SMALLEST = 64
"""px of the photo that are shown at least, along each side."""
TRUTH, FIRST, SECOND = 2, 1, 0
"""Colours (`bench.overlay.colour`): yellow, blue, red."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What A and B answered to a prompt about an object."""

    first: np.ndarray | None = None
    """A's mask, bool [H, W]; None where it is not known."""
    second: np.ndarray | None = None
    boxes_xyxy: tuple[tuple[float, ...], ...] = ()
    """The prompt, px."""
    clicks: tuple[tuple[float, float, int], ...] = ()
    """The prompt: x, y and label, px."""


def pictures_of(photo: np.ndarray, truth: np.ndarray, answers: Answers) -> list[np.ndarray | None]:
    """Return four pictures of the same part of the photo, uint8 [h, w, 3]: prompt, truth, A, B.

    Args:
        photo: uint8 [H, W, 3] RGB.
        truth: bool [H, W].
        answers: None stands for one whose mask is not known.
    """
    known = [mask for mask in (answers.first, answers.second) if mask is not None]
    part = _window([truth, *known], photo.shape[:2])
    asked = overlay(photo, [], boxes_xyxy=answers.boxes_xyxy, clicks=answers.clicks)
    masks = ((TRUTH, truth), (FIRST, answers.first), (SECOND, answers.second))
    return [
        asked[part],
        *(None if mask is None else overlay(photo, [(number, mask)])[part] for number, mask in masks),
    ]


def _window(masks: Sequence[np.ndarray], size: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns that hold some masks [H, W], with some room; the whole photo if all are empty."""
    covered = np.logical_or.reduce(masks)
    if not covered.any():
        return slice(0, size[0]), slice(0, size[1])
    ends = [np.flatnonzero(covered.any(axis))[[0, -1]] + [0, 1] for axis in (1, 0)]
    room = round(MARGIN * max(last - first for first, last in ends))
    rows, columns = (
        _widened(int(first) - room, int(last) + room, side) for (first, last), side in zip(ends, size, strict=True)
    )
    return rows, columns


def _widened(first: int, last: int, side: int) -> slice:
    """Return a stretch of at least `SMALLEST` px around another one, moved into the photo and no longer than it."""
    length = min(side, max(SMALLEST, last - first))
    start = min(max(0, (first + last - length) // 2), side - length)
    return slice(start, start + length)
