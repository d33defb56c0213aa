"""An honest model for boxes and clicks that needs no weights: it answers the box itself, or a disc around the click."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from models.errors import UnsupportedPrompt
from models.segmenter import BACKGROUND, BOX_TOP_LEFT, Embedding, Segmentation

RADII = (10.0, 20.0, 40.0)


class Boxes:
    """Three candidates a prompt, the second the best."""

    name, device = "boxes", torch.device("cpu")

    def embed(self, images):
        return [Embedding(torch.zeros(1, 1, 1), image.shape[:2]) for image in images]

    def read(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Return where points [P, K, 2] lie, px of the image."""
        return points

    def frame(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of the logits."""
        return size

    def segment(self, embedding, prompts, *, multimask=True):
        if (prompts.labels == BACKGROUND).any():
            raise UnsupportedPrompt("no background clicks")
        places = torch.tensor(self.read(prompts.points, embedding.size).copy()).float()
        height, width = self.frame(embedding.size)
        y, x = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
        logits = torch.zeros(len(prompts), 3 if multimask else 1, height, width)
        for row, (place, labels) in enumerate(zip(places, prompts.labels, strict=True)):
            for column in range(logits.shape[1]):
                logits[row, column] = self.one(place, labels, x, y, column if multimask else 1)
        predicted = torch.tensor([0.7, 0.9, 0.6] if multimask else [0.9])
        return Segmentation(logits, predicted.expand(len(prompts), -1).clone())

    def one(self, place, labels, x, y, candidate):
        if labels[0] == BOX_TOP_LEFT:
            (x0, y0), (x1, y1) = place - (1 - candidate) * 4 * torch.tensor([[-1], [1]])
            return torch.minimum(torch.minimum(x - x0, x1 - x), torch.minimum(y - y0, y1 - y))
        near = [torch.hypot(x - px, y - py) for px, py in place]
        return RADII[candidate] - torch.stack(near).amin(0)

    def masks(self, logits, size):
        return logits > 0


class Reading(Boxes):
    """Reads coordinates in its own way."""

    def __init__(self, read: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self._read = read

    def read(self, points, size):
        return self._read(points, np.array(size[::-1], np.float32))


class Uncropped(Boxes):
    """Answers in a padded square, and makes all of the square into the mask."""

    def frame(self, size):
        return max(size), max(size)

    def masks(self, logits, size):
        return F.interpolate(logits, size, mode="bilinear") > 0


class Mute(Boxes):
    """Answers nothing."""

    def masks(self, logits, size):
        return torch.zeros_like(logits, dtype=torch.bool)
