"""What a promptable segmentation model is to this project: three methods and one kind of prompt.

Two more methods let it segment everything in an image (`Upscaler`); tables need none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from models.errors import BenchError

if TYPE_CHECKING:  # torch takes seconds to import, and prompts are made without it
    import torch
    from torch import Tensor

BACKGROUND, FOREGROUND, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT, PADDING, NO_CLICK = 0, 1, 2, 3, -1, -2

Multimask = bool | Literal["best"]
"""Three candidate masks (True), the single-mask token's (False), or of three the one of the highest predicted IoU."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts about one image, all with the same number of points.

    Raises:
        BenchError: if shapes disagree, a label is unknown, or a coordinate is not finite.
    """

    points: np.ndarray
    """[P, K, 2] float32, (x, y) in pixels of the original image."""
    labels: np.ndarray
    """[P, K] int64: 1 foreground, 0 background, 2 / 3 box corners (top-left / bottom-right), -1 padding, -2 no click (a
    token of zeros, as EdgeSAM's prompt encoder has it)."""
    mask_logits: Tensor | None = None
    """[P, h, w] low-resolution logits of an earlier answer, for models that take a mask prompt."""

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=np.float32)
        labels = np.asarray(self.labels, dtype=np.int64)
        if points.ndim != 3 or points.shape[2] != 2 or labels.shape != points.shape[:2]:
            raise BenchError(
                f"prompts need points [P, K, 2] and labels [P, K], got {list(points.shape)} and {list(labels.shape)}"
            )
        if not np.isin(labels, (-2, -1, 0, 1, 2, 3)).all():
            raise BenchError(f"prompt labels must be -2, -1, 0, 1, 2 or 3, got {sorted(set(labels.ravel().tolist()))}")
        if not np.isfinite(points).all():
            raise BenchError("prompt points must be finite pixel coordinates, got NaN or infinity")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "labels", labels)

    @classmethod
    def from_boxes(cls, boxes_xyxy: np.ndarray | Sequence[Sequence[float]]) -> Prompts:
        """Turn boxes [P, 4] (xyxy, px) into prompts of two corner points each."""
        corners = np.asarray(boxes_xyxy, dtype=np.float32).reshape(-1, 2, 2)
        labels = np.tile([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], (len(corners), 1))
        return cls(corners, labels)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: slice | np.ndarray) -> Prompts:
        masks = None if self.mask_logits is None else self.mask_logits[index]
        return replace(self, points=self.points[index], labels=self.labels[index], mask_logits=masks)


@dataclass(frozen=True, slots=True)
class Embedding:
    """What an encoder made of one image."""

    features: Tensor
    """[C, h, w]."""
    size: tuple[int, int]
    """(height, width) of the original image, px."""


class Segmentation(NamedTuple):
    """A model's answer to P prompts, M candidate masks each."""

    logits: Tensor
    """[P, M, h, w] at the model's own low resolution."""
    predicted_iou: Tensor
    """[P, M], the model's own estimate of each candidate's IoU."""


@runtime_checkable
class Segmenter(Protocol):
    """The contract between a model and every promptable protocol (Tables 4 and 5).

    A segmenter whose logits [h, h] cover a square that holds the image in its upper left corner, resized by its long
    side, as SAM's do, may say so by an attribute `padded = True`: some protocols place clicks at such cells.
    """

    name: str

    @property
    def device(self) -> torch.device:
        """Where the weights live."""

    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Encode images, uint8 [H, W, 3] RGB each, of any sizes."""

    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: bool = True) -> Segmentation:
        """Answer all prompts about one image; `multimask=False` asks for the single-mask token (M = 1)."""

    def masks(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into masks bool [P, M, H, W] at the image's own (height, width)."""


@runtime_checkable
class Upscaler(Segmenter, Protocol):
    """A segmenter that also shows what its masks are made of; needed for stability scores (`models.everything`).

    `masks(logits, size)` is `threshold(upscale(logits, size))`, in bounded memory, but for pixels whose logit is a
    rounding away from the threshold (`models.upscaling`).
    """

    def upscale(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Turn logits [P, M, h, w] into logits float [P, M, H, W] at the image's own (height, width), all at once."""

    def threshold(self, upscaled: Tensor) -> Tensor:
        """Say which pixels of upscaled logits, of any shape, are inside: bool, same shape."""


@runtime_checkable
class EverythingFinder(Protocol):
    """A model whose own answer to an image is all masks in it, as FastSAM's is."""

    def everything(self, image: np.ndarray) -> np.ndarray:
        """Find all masks, bool [N, H, W], of an image uint8 [H, W, 3] RGB."""
