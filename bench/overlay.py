"""A photo with masks laid over it: each in a colour of its own with its outline, and what was asked about."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

_OPACITY = 0.45
_PALE = 0.6
_GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue (ITU-R BT.601)."""
_GOLDEN_RATIO = (5**0.5 - 1) / 2
"""Hues that go round in such steps stay as far apart as they can, however many there are."""
_BOX = (255, 255, 255)
DARK = (27, 31, 36)
"""Ink on a pale photo, see `lit`."""
_CLICK = ((235, 60, 60), (60, 210, 90))
"""Of label 0 and of label 1."""


def overlay(
    photo: np.ndarray,
    masks: Iterable[tuple[int, np.ndarray]],
    *,
    boxes_xyxy: Sequence[Sequence[float]] = (),
    clicks: Sequence[tuple[float, float, int]] = (),
    ink: tuple[int, int, int] = _BOX,
) -> np.ndarray:
    """Return a photo with masks, boxes and clicks drawn over it, uint8 [H, W, 3].

    Args:
        photo: uint8 [H, W, 3] RGB; not changed.
        masks: a number, which is its colour, and a mask bool [H, W] each; later ones lie above earlier ones.
        boxes_xyxy: px.
        clicks: x, y and label, px; 1 green, 0 red.
        ink: RGB of boxes and of the edges of clicks.
    """
    drawn = photo.copy()
    for number, mask in masks:
        _lay(drawn, mask, colour(number))
    image = Image.fromarray(drawn)
    draw, width = ImageDraw.Draw(image), max(1, round(max(photo.shape) / 400))
    for box in boxes_xyxy:
        draw.rectangle(tuple(box), outline=ink, width=width)
    for x, y, label in clicks:
        r = 3 * width
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_CLICK[label], outline=ink, width=width)
    return np.array(image)


def lit(photo: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a photo that is grey and pale outside a mask bool [H, W], uint8 [H, W, 3]: seen on any background."""
    grey = photo @ _GREY
    pale = np.rint(_PALE * 255 + (1 - _PALE) * grey)[..., None]
    return np.where(mask[..., None], photo, pale).astype(np.uint8)


def colour(number: int) -> tuple[int, int, int]:
    """Return the RGB of the mask of a number, always the same.

    >>> colour(0), colour(1)
    ((255, 64, 64), (64, 120, 255))
    """
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN_RATIO % 1, 0.75, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


def _lay(drawn: np.ndarray, mask: np.ndarray, rgb: tuple[int, int, int]) -> None:
    """Colour a mask's pixels and its outline, which is those with a neighbour outside."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inside, pixels, paint = mask[part], drawn[part], np.array(rgb)
    pixels[inside] = np.rint((1 - _OPACITY) * pixels[inside] + _OPACITY * paint)
    framed = np.pad(inside, 1)
    core = framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    pixels[inside & ~core] = paint
