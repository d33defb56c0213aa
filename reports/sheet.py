"""A sheet of pictures: lines of pictures side by side, each with a few words above it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.panel import Theme
from reports.plot import LIGHT, STYLE, WIDTH

LINE = 1.95
"""Height of a line, inches."""

Picture = tuple[str, np.ndarray | None]
"""Words and uint8 [h, w, 3] RGB, None for a picture that there is not."""


def sheet(lines: Sequence[Sequence[Picture]], theme: Theme = LIGHT) -> bytes:
    """Return the sheet as PNG.

    Args:
        lines: at least one; all with as many pictures.
        theme: colours.
    """
    with matplotlib.style.context([str(STYLE), theme.settings()]):
        figure = Figure(figsize=(WIDTH, 0.3 + LINE * len(lines)), layout="constrained")
        grid = figure.subplots(len(lines), len(lines[0]), squeeze=False)
        for places, line in zip(grid, lines, strict=True):
            for axes, (words, picture) in zip(places, line, strict=True):
                _draw(axes, words, picture, theme)
        png = io.BytesIO()
        figure.savefig(png, format="png")
    return png.getvalue()


def _draw(axes: Axes, words: str, picture: np.ndarray | None, theme: Theme) -> None:
    axes.set_title(words, fontsize=6, weight="normal", loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    if picture is not None:
        axes.imshow(picture)
        return
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": theme.muted, "style": "italic", "fontsize": 6}
    axes.text(0.5, 0.5, "mask not known", transform=axes.transAxes, gid="reason", **style)
