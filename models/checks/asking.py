"""Images that checks are made on, and a model's answers about them as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from models.segmenter import FOREGROUND, Embedding, Prompts, Segmenter

GROUND, BRIGHT = (50, 45, 60), (205, 215, 190)
"""RGB of the dark ground and of what lies on it."""
TEXTURE = 24
"""Largest grey levels that the texture adds or takes."""


class Answer(NamedTuple):
    """What a model said to P prompts."""

    masks: np.ndarray
    """bool [P, M, H, W]."""
    predicted_iou: np.ndarray
    """float32 [P, M]."""
    logits: np.ndarray
    """float32 [P, M, h, w]."""

    @property
    def best(self) -> np.ndarray:
        """Masks bool [P, H, W] of the highest predicted IoU, those that tables count."""
        return self.masks[np.arange(len(self.masks)), self.predicted_iou.argmax(1)]


def ground(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return a dark, textured image uint8 [H, W, 3]."""
    return _textured(GROUND, size, seed)


def with_rectangles(size: tuple[int, int], boxes_xyxy: Sequence[Sequence[int]], seed: int = 0) -> np.ndarray:
    """Return the same with bright, textured rectangles on it."""
    image = ground(size, seed)
    for index, (x0, y0, x1, y1) in enumerate(boxes_xyxy):
        image[y0:y1, x0:x1] = _textured(BRIGHT, (y1 - y0, x1 - x0), seed + 1 + index)
    return image


def _textured(colour: tuple[int, int, int], size: tuple[int, int], seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-TEXTURE, TEXTURE + 1, (*size, 1))
    return (np.array(colour) + noise).astype(np.uint8)  # [H, W, 3]


def shown(model: Segmenter, image: np.ndarray) -> Embedding:
    """Return the embedding of one image."""
    (embedding,) = model.embed([image])
    return embedding


def answer(model: Segmenter, embedding: Embedding, prompts: Prompts) -> Answer:
    """Ask for masks of an image at its own size."""
    logits, predicted_iou = model.segment(embedding, prompts)
    masks = model.masks(logits, embedding.size)
    return Answer(_array(masks), _array(predicted_iou.float()), _array(logits.float()))


def clicks(points_xy: np.ndarray) -> Prompts:
    """Turn points [P, 2] px into prompts of one foreground click each."""
    return Prompts(points_xy[:, None], np.full((len(points_xy), 1), FOREGROUND))


def spread_boxes(size: tuple[int, int], count: int) -> np.ndarray:
    """Return boxes float32 [P, 4] xyxy, px, of many shapes all over an image; always the same."""
    draws = np.random.default_rng(0).random((count, 2, 2)) * size[::-1]  # [P, corner, (x, y)]
    low, high = draws.min(1), draws.max(1)
    return np.concatenate([low, np.maximum(high, low + 1)], 1).astype(np.float32)


def _array(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())
