"""A picture sheet of instances: the photo with what was asked, the truth, and what A and B answered."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.overlay import overlay
from reports import wording
from reports.panel import Theme
from reports.plot import LIGHT, STYLE, WIDTH

MARGIN = 0.25
"""Room around what is shown, as a share of its longer side."""
SMALLEST = 64
"""px of the photo that are shown at least, along each side."""
TRUTH, FIRST, SECOND = 2, 1, 0
"""Colours (`bench.overlay.colour`): yellow, blue, red."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One line of the sheet."""

    title: str
    photo: np.ndarray
    """uint8 [H, W, 3] RGB."""
    truth: np.ndarray
    """bool [H, W]."""
    first: np.ndarray | None
    """A's mask, bool [H, W]; None where it is not known."""
    second: np.ndarray | None
    iou: tuple[float, float]
    """Of A and of B, 0..1."""
    boxes_xyxy: tuple[tuple[float, ...], ...] = ()
    clicks: tuple[tuple[float, float, int], ...] = ()


def sheet(lines: Sequence[Shown], first: str, second: str, theme: Theme = LIGHT) -> bytes:
    """Return the sheet as PNG, a line an instance.

    Args:
        lines: what is shown, at least one.
        first: name of A.
        second: name of B.
        theme: colours.
    """
    with matplotlib.style.context([str(STYLE), theme.settings()]):
        figure = Figure(figsize=(WIDTH, 0.3 + 1.95 * len(lines)), layout="constrained")
        grid = figure.subplots(len(lines), 4, squeeze=False)
        for place, line in zip(grid, lines, strict=True):
            _draw(place, line, wording.short_name(first), wording.short_name(second), theme)
        png = io.BytesIO()
        figure.savefig(png, format="png")
    return png.getvalue()


def _draw(place: Sequence[Axes], line: Shown, first: str, second: str, theme: Theme) -> None:
    rows, columns = _window(line)
    asked = overlay(line.photo, [], boxes_xyxy=line.boxes_xyxy, clicks=line.clicks)
    panels = (
        (line.title, asked),
        ("truth", overlay(line.photo, [(TRUTH, line.truth)])),
        (f"{first} {wording.number(line.iou[0])}", _masked(line, line.first, FIRST)),
        (f"{second} {wording.number(line.iou[1])}", _masked(line, line.second, SECOND)),
    )
    for axes, (title, picture) in zip(place, panels, strict=True):
        axes.set_title(title, fontsize=6, weight="normal", loc="left")
        axes.imshow(np.full((*line.photo.shape[:2], 3), 255, np.uint8) if picture is None else picture)
        axes.set(xlim=(columns.start - 0.5, columns.stop - 0.5), ylim=(rows.stop - 0.5, rows.start - 0.5))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        if picture is None:
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": theme.muted, "style": "italic"}
            axes.text(0.5, 0.5, "mask not known", transform=axes.transAxes, fontsize=6, gid="reason", **style)


def _masked(line: Shown, mask: np.ndarray | None, number: int) -> np.ndarray | None:
    return None if mask is None else overlay(line.photo, [(number, mask)])


def _window(line: Shown) -> tuple[slice, slice]:
    """Return the rows and columns of the photo that hold the object and the answers, with some room."""
    masks = [mask for mask in (line.truth, line.first, line.second) if mask is not None and mask.any()]
    covered = np.logical_or.reduce(masks) if masks else np.ones(line.photo.shape[:2], bool)
    found = []
    for axis in (1, 0):
        inside = np.flatnonzero(covered.any(axis))
        found.append((int(inside[0]), int(inside[-1]) + 1))
    room = round(MARGIN * max(last - first for first, last in found))
    return tuple(  # type: ignore[return-value]
        _widened(first - room, last + room, side)
        for (first, last), side in zip(found, line.photo.shape[:2], strict=True)
    )


def _widened(first: int, last: int, side: int) -> slice:
    """Return a stretch of at least `SMALLEST` px, as far as the photo has them."""
    lacking = max(0, SMALLEST - (last - first))
    first, last = first - lacking // 2, last + lacking - lacking // 2
    return slice(max(0, first), min(side, last))
