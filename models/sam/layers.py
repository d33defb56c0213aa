"""The two small layers that the parts of SAM share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of an image [B, C, H, W]."""

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, image: Tensor) -> Tensor:
        """Normalise [B, C, H, W] at each pixel."""
        return self.last(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def last(self, image: Tensor) -> Tensor:
        """Normalise a tensor whose last axis is the channels."""
        return F.layer_norm(image, self.weight.shape, self.weight, self.bias, self.eps)


class FeedForward(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, hidden: int, *, activation: type[nn.Module]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.act = activation()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map [..., width] to [..., width]."""
        return self.lin2(self.act(self.lin1(tokens)))  # type: ignore[no-any-return]
