"""Pictures of a table in rows and columns, as a PNG that is written beside it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SIDE, GAP, HEADING = 160, 4, 18
"""Longer side of a picture, space between two, and height of the headings, px."""


def picture_grid(headings: Sequence[str], lines: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Put pictures uint8 [H, W, 3] into rows and columns under their headings, on white, and return the PNG."""
    step = SIDE + GAP
    page = Image.new("RGB", (GAP + step * len(headings), HEADING + step * max(1, len(lines))), "white")
    draw = ImageDraw.Draw(page)
    for column, heading in enumerate(headings):
        draw.text((GAP + column * step, 3), heading, fill="black")
        for row, line in enumerate(lines):
            picture = Image.fromarray(line[column])
            picture.thumbnail((SIDE, SIDE))
            page.paste(picture, (GAP + column * step, HEADING + row * step))
    file = io.BytesIO()
    page.save(file, "PNG")
    return file.getvalue()
