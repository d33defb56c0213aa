"""How an image of any size becomes a network's square input, and how logits on the square become masks of the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from models.upscaling import Resize, axis, upscaled_masks

PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet, RGB, on the scale 0..255."""
PIXEL_STD = (58.395, 57.12, 57.375)
"""Standard deviation of ImageNet, RGB, on the scale 0..255."""
_MASKS_AT_ONCE = 1 << 24
"""Most pixels of upscaled logits held at once (64 MiB in float32)."""


class Frame(Protocol):
    """A square of `side` px that an image is put into."""

    @property
    def side(self) -> int:
        """Of the square, px."""

    def pixels(self, image: np.ndarray, device: torch.device) -> Tensor:
        """Turn an image uint8 [H, W, 3] RGB into normalised input [1, 3, S, S]."""

    def points(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Turn points [..., 2] (x, y), px of an image of (height, width) `size`, into float32 px of the square."""

    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] on the square into masks bool [P, M, H, W] of the image: those above 0."""

    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] on the square into logits [P, M, H, W] of the image, all at once."""


@dataclass(frozen=True, slots=True)
class Padded:
    """The long side is resized to S (Pillow bilinear), zeros fill below and right: `SamPredictor` 1.0."""

    side: int

    def pixels(self, image: np.ndarray, device: torch.device) -> Tensor:
        """See `Frame`."""
        height, width = resized((image.shape[0], image.shape[1]), self.side)
        small = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        pixels = torch.from_numpy(small).to(device).permute(2, 0, 1).contiguous()
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
        return F.pad((pixels - mean) / std, (0, self.side - width, 0, self.side - height))[None]

    def points(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """See `Frame`; in float64, as published."""
        scale = np.array(resized(size, self.side)[::-1]) / np.array(size[::-1])  # (x, y)
        return (points * scale).astype(np.float32)

    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """See `Frame`."""
        inner = resized(size, self.side)
        steps = [
            (Resize(length, self.side), Resize(kept, end))
            for length, kept, end in zip(logits.shape[2:], inner, size, strict=True)
        ]
        return _masks(logits, size, steps, self.upscale, self.side**2)

    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize bilinearly to the square, crop what is padding, resize bilinearly to the image."""
        height, width = resized(size, self.side)
        inner = F.interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)
        return F.interpolate(inner[..., :height, :width], size, mode="bilinear", align_corners=False)


@dataclass(frozen=True, slots=True)
class Squashed:
    """Both sides are resized to S as floats, bilinear with antialias: `SAM2Transforms` of SAM 2."""

    side: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """RGB, on the scale 0..1."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def pixels(self, image: np.ndarray, device: torch.device) -> Tensor:
        """See `Frame`."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None].float() / 255
        if pixels.shape[2:] != (self.side, self.side):
            square = (self.side, self.side)
            pixels = F.interpolate(pixels, square, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (self.mean, self.std))
        return (pixels - mean) / std

    def points(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """See `Frame`; divided before multiplied, in float32, as published."""
        sides = np.array(size[::-1], dtype=np.float32)  # (x, y)
        return points.astype(np.float32) / sides * np.float32(self.side)

    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """See `Frame`."""
        steps = [(Resize(length, end),) for length, end in zip(logits.shape[2:], size, strict=True)]
        return _masks(logits, size, steps, self.upscale, 0)

    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize bilinearly to the image."""
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def resized(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return (height, width) scaled so that the longer is `long_side`, rounded half up, at least 1.

    >>> resized((257, 403), 1024)
    (653, 1024)
    """
    scale = long_side / max(size)
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def _masks(
    logits: Tensor,
    size: tuple[int, int],
    steps: Sequence[tuple[Resize, ...]],
    upscale: Callable[[Tensor, tuple[int, int]], Tensor],
    between: int,
) -> Tensor:
    """Return masks bool [P, M, H, W] of logits [P, M, h, w] in bounded memory.

    Args:
        logits: on the square.
        size: (H, W).
        steps: resizes of each axis.
        upscale: the same, all at once.
        between: pixels of what it makes on the way.
    """
    flat = logits.flatten(0, 1)[:, None]
    if logits.device.type == "cpu" and logits.dtype == torch.float32:
        rows, columns = (axis(n, of, "bilinear") for n, of in zip(logits.shape[2:], steps, strict=True))
        return upscaled_masks(flat[:, 0], rows, columns, ties=False).unflatten(0, logits.shape[:2])
    masks = torch.empty(len(flat), *size, dtype=torch.bool, device=logits.device)
    step = max(1, _MASKS_AT_ONCE // max(between, size[0] * size[1]))
    for start in range(0, len(flat), step):
        part = slice(start, start + step)
        masks[part] = (upscale(flat[part], size) > 0)[:, 0]
    return masks.unflatten(0, logits.shape[:2])
