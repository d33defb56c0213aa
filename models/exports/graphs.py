"""A promptable network as two graphs: images to features, and features with prompts to masks.

The decoder's graph takes any number of prompts that are alike: padding is the caller's (`models.exports.network`). It
gives all four masks, the single one first, so that one graph serves both ways of asking.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

PIXELS, FEATURES, POINTS, LABELS, LOGITS, PREDICTED_IOU = (
    "pixels", "features", "points", "labels", "logits", "predicted_iou",
)  # fmt: skip
"""Names of inputs and outputs: float32 pixels [1, 3, S, S], features [1, C, h, h], points [1, P, K, 2] in px of the
network's input, int64 labels [1, P, K]; float32 logits [1, P, 4, 4 h, 4 h], predicted_iou [1, P, 4]."""


class EncoderGraph(nn.Module):
    """Pixels to features."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode [1, 3, S, S] as [1, C, h, h]."""
        return self.network.encode(pixels)  # type: ignore[no-any-return]


class SamDecoderGraph(nn.Module):
    """Prompts of the SAM family: every point is a token, nothing is padded or hidden."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Answer prompts, see the names above."""
        encoder = self.network.prompt_encoder
        tokens = encoder.embed_padded(points, labels)
        image = features.flatten(2).transpose(1, 2)[:, None] + encoder.no_mask_embed.weight  # [1, 1, N, C]
        logits, predicted_iou = self.network.mask_decoder(
            image.contiguous(), encoder.grid_positions(), tokens, None, multimask=None
        )
        return logits, predicted_iou


class EfficientSamDecoderGraph(nn.Module):
    """Prompts of EfficientSAM: six points each."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Answer prompts, see the names above."""
        logits, predicted_iou = self.network.decode(features, points, labels, multimask=None)
        return logits, predicted_iou


def example(side: int, features: Tensor, points: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pixels, features, points and labels that graphs are traced with."""
    labels = torch.ones(1, 3, points, dtype=torch.int64)
    return torch.zeros(1, 3, side, side), features, torch.full((1, 3, points, 2), side / 2), labels
