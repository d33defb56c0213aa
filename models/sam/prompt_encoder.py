"""SAM's prompt encoder: points, box corners and an earlier mask as tokens and as an image-sized embedding.

Re-implements `PromptEncoder` of segment_anything 1.0 under the same state-dict names.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.sam.layers import ChannelNorm


class PromptTokens(NamedTuple):
    """Prompts as tokens."""

    tokens: Tensor
    """[B, P, K', C]."""
    keep: Tensor | None
    """[B, P, K'] bool, False for a token that is there only to even out lengths; None if all count."""


class PromptEncoder(nn.Module):
    """Embed prompts.

    Args:
        embed_dim: width C of the tokens.
        grid: side of the image features, patches.
        img_size: side of the network input, px.
        mask_in_chans: hidden channels of the mask embedding.
    """

    def __init__(self, *, embed_dim: int = 256, grid: int = 64, img_size: int = 1024, mask_in_chans: int = 16) -> None:
        super().__init__()
        self.grid, self.img_size = grid, img_size
        self.pe_layer = FourierPositions(embed_dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, embed_dim) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, embed_dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_in_chans // 4, 2, 2),
            ChannelNorm(mask_in_chans // 4),
            nn.GELU(),
            nn.Conv2d(mask_in_chans // 4, mask_in_chans, 2, 2),
            ChannelNorm(mask_in_chans),
            nn.GELU(),
            nn.Conv2d(mask_in_chans, embed_dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, embed_dim)

    def embed_points(self, points: Tensor, labels: Tensor) -> PromptTokens:
        """Embed points [B, P, K, 2] (x, y; input px) with labels [B, P, K].

        Every prompt gets what the published code gives it when alone: its own points, and one padding token
        if it has no box. Further padding (label -1) is marked so that nothing attends to it. Label -2 is a token of
        zeros, as in EdgeSAM's encoder.

        Labels may be on the CPU wherever the points are: what is asked of them here is then known without waiting for
        the GPU.
        """
        points, labels, keep = _pad(points, labels)
        keep = None if keep is None else keep.to(points.device)
        return PromptTokens(self.embed_padded(points, labels.to(points.device)), keep)

    def embed_padded(self, points: Tensor, labels: Tensor) -> Tensor:
        """Embed each of these points [B, P, K, 2] with its label [B, P, K] as a token [B, P, K, C]."""
        positions = self.pe_layer((points + 0.5) / self.img_size)
        embeddings = [self.not_a_point_embed, *self.point_embeddings]
        by_label = torch.cat([embedding.weight for embedding in embeddings])  # type: ignore[misc]
        by_label = F.pad(by_label, (0, 0, 1, 0))  # label -2
        return positions * (labels >= 0)[..., None] + by_label[labels + 2]  # type: ignore[no-any-return]

    def embed_masks(self, mask_logits: Tensor) -> Tensor:
        """Embed logits [B, P, 4 grid, 4 grid] as [B, P, grid * grid, C]."""
        batch, prompts = mask_logits.shape[:2]
        dense = self.mask_downscaling(mask_logits.flatten(0, 1)[:, None])  # [B P, C, grid, grid]
        return dense.flatten(2).transpose(1, 2).unflatten(0, (batch, prompts))  # type: ignore[no-any-return]

    def grid_positions(self) -> Tensor:
        """Return the positional encoding [grid * grid, C] of the patch centres."""
        weight = self.no_mask_embed.weight
        centres = (torch.arange(self.grid, device=weight.device, dtype=weight.dtype) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self.pe_layer(torch.stack([x, y], -1)).flatten(0, 1)  # type: ignore[no-any-return]


def _pad(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Append the padding point where the published code has one, and say which tokens count."""
    boxed = (labels >= 2).any(-1, keepdim=True)  # [B, P, 1]
    padding = labels == -1
    any_padding, all_boxed = bool(padding.any()), bool(boxed.all())
    if all_boxed and not any_padding:
        return points, labels, None
    points = torch.cat([points, points.new_zeros(*points.shape[:2], 1, 2)], 2)
    labels = torch.cat([labels, labels.new_full((*labels.shape[:2], 1), -1)], 2)
    if not any_padding and not bool(boxed.any()):
        return points, labels, None
    return points, labels, ~torch.cat([padding, boxed], 2)


class FourierPositions(nn.Module):
    """Random Fourier features of coordinates in 0..1."""

    def __init__(self, frequencies: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, frequencies))
        self.positional_encoding_gaussian_matrix: Tensor

    def forward(self, coordinates: Tensor) -> Tensor:
        """Encode [..., 2] as [..., 2 * frequencies]."""
        phases = 2 * math.pi * ((2 * coordinates - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([phases.sin(), phases.cos()], -1)
