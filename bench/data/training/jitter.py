"""Large-scale jitter: a photo and its objects resized, cropped, padded and mirrored at random (ViTDet's training)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from bench.data.images import MEAN_RGB

PADDING = MEAN_RGB
"""RGB beside the photo where nothing else is asked for."""


class LabelledPhoto(NamedTuple):
    """A photo with the masks and classes of its objects."""

    image: np.ndarray
    """uint8 [H, W, 3] RGB."""
    masks: np.ndarray
    """bool [N, H, W]."""
    labels: np.ndarray
    """int64 [N] from 1 on."""


def large_scale_jitter(
    photo: LabelledPhoto,
    rng: np.random.Generator,
    *,
    side: int,
    scale: tuple[float, float],
    padding: tuple[int, int, int] = PADDING,
) -> LabelledPhoto:
    """Return a photo of side x side px: mirrored or not, resized, cropped where it is too large, padded elsewhere.

    Objects that are cut away or get lost in the resizing are left out.

    Args:
        photo: of any size.
        rng: five numbers are drawn, whatever the photo.
        side: px.
        scale: between which the photo's longer side over `side` is drawn.
        padding: RGB beside the photo.
    """
    height, width = photo.image.shape[:2]
    stretch = rng.uniform(*scale) * side / max(height, width)
    mirrored, (down, right) = rng.random() < 0.5, rng.random(2)
    rows, columns = Span.drawn(height, stretch, side, down), Span.drawn(width, stretch, side, right)
    image, masks = photo.image, photo.masks
    if mirrored:
        image, masks = image[:, ::-1], masks[:, :, ::-1]
    source = (columns.first, rows.first, columns.last, rows.last)
    resized = Image.fromarray(np.ascontiguousarray(image)).resize(
        (columns.length, rows.length), Image.Resampling.BILINEAR, box=source
    )
    canvas = np.full((side, side, 3), padding, np.uint8)
    canvas[: rows.length, : columns.length] = np.asarray(resized)
    cut = np.zeros((len(masks), side, side), bool)
    cut[:, : rows.length, : columns.length] = masks[:, rows.nearest()[:, None], columns.nearest()]
    seen = cut.any(axis=(1, 2))
    return LabelledPhoto(canvas, cut[seen], photo.labels[seen])


class Span(NamedTuple):
    """The part of an axis that stays, in pixels of the photo, and how long it becomes."""

    first: float
    last: float
    length: int
    """px of the result."""

    @classmethod
    def drawn(cls, size: int, stretch: float, side: int, place: float) -> Span:
        """Return the part of an axis of `size` px that fits into `side` after stretching, at `place` in 0..1."""
        whole = max(1, round(size * stretch))
        length = min(whole, side)
        offset = int(place * (whole - length + 1))
        return cls(offset * size / whole, (offset + length) * size / whole, length)

    def nearest(self) -> np.ndarray:
        """Return the pixel of the photo under the centre of each pixel of the result, int64 [length]."""
        centres = self.first + (np.arange(self.length) + 0.5) * (self.last - self.first) / self.length
        return np.floor(centres).astype(np.int64)
