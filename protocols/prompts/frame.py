"""The frame of SAM's input: the image resized to a long side of 1,024 px, in the corner of a square of zeros.

EdgeSAM's evaluator puts the truth into it, counts errors at the cells of the low-resolution answer there, and brings
the truth back to the image; how, was read in its evaluation/eval_mIoU.py, training/data/coco_dataset.py and
edge_sam/utils/transforms.py (chongzhou96/EdgeSAM b53372c).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

SIDE = 1024
"""px."""
CELLS = 256
"""Cells along a side of SAM's low-resolution answer."""


class Frame(NamedTuple):
    """Where an image lies in the square."""

    size: tuple[int, int]
    """(height, width) of the image, px."""
    inner: tuple[int, int]
    """(height, width) of the resized image, px of the frame."""

    @classmethod
    def of(cls, size: tuple[int, int]) -> Frame:
        """Return the frame of images of a (height, width); halves are rounded up.

        >>> Frame.of((427, 640)).inner
        (683, 1024)
        """
        scale = SIDE / max(size)
        return cls(size, (max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))))

    def enter(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask bool [H, W] of the image in the frame, bool [h, w], by nearest neighbours."""
        rows, columns = (_nearest(*sides) for sides in zip(self.size, self.inner, strict=True))
        return mask[rows][:, columns]  # type: ignore[no-any-return]

    def leave(self, inner: np.ndarray) -> np.ndarray:
        """Return a mask bool [h, w] of the frame in the image, bool [H, W]: every pixel that it touches."""
        pixels = torch.from_numpy(inner).float()[None, None]
        back = F.interpolate(pixels, self.size, mode="bilinear", align_corners=False)
        return back[0, 0].numpy() > 0  # type: ignore[no-any-return]

    def cells(self, inner: np.ndarray, count: int = CELLS) -> np.ndarray:
        """Return bool [count, count]: the cells of the whole square of which a central pixel is in a mask [h, w].

        Bilinear interpolation looks at no more than the four pixels in the middle of a cell.
        """
        square = np.zeros((SIDE, SIDE), dtype=bool)
        square[: self.inner[0], : self.inner[1]] = inner
        first, step = SIDE // count // 2 - 1, SIDE // count
        rows = square[first::step] | square[first + 1 :: step]
        return rows[:, first::step] | rows[:, first + 1 :: step]  # type: ignore[no-any-return]

    def inside(self, count: int) -> np.ndarray:
        """Return float64 [count, count]: how many of a cell's four central pixels lie in the image, 0..1."""
        first, step = SIDE // count // 2 - 1, SIDE // count
        middles = first + step * np.arange(count)
        down, across = (np.clip(side - middles, 0, 2) / 2 for side in self.inner)
        return down[:, None] * across[None, :]  # type: ignore[no-any-return]

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Turn points [..., 2] (x, y) of the frame into pixels of the image, float32."""
        return (points * np.array(self.size[::-1]) / np.array(self.inner[::-1])).astype(np.float32)  # type: ignore[no-any-return]


def _nearest(side: int, resized: int) -> np.ndarray:
    """Return int64 [resized]: the pixel that torch's `nearest` takes for each, with its float32 quotient."""
    places = np.arange(resized, dtype=np.float32) * (np.float32(side) / np.float32(resized))
    return np.minimum(places.astype(np.int64), side - 1)
