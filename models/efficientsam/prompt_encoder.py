"""EfficientSAM's prompt encoder: points and box corners as six tokens.

Where it differs from SAM's: every prompt is padded to six points, and a padding token keeps the positional
code of its coordinate (-1, -1) and takes part in attention; background points have no embedding; there is no
mask prompt. Re-implements `PromptEncoder` of the released code (commit d525f62) under the same state-dict
names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.errors import BenchError
from models.sam.prompt_encoder import FourierPositions

MAX_POINTS = 6
"""Points of a prompt, `decoder_max_num_input_points` of the released code."""
_NOWHERE = -1.0
"""Coordinate of padding, and of anything left of or above the image."""


class PromptEncoder(nn.Module):
    """Embed prompts.

    Args:
        embed_dim: width C of the tokens.
        grid: side of the image features, patches.
        img_size: side of the network input, px.
    """

    def __init__(self, *, embed_dim: int = 256, grid: int = 64, img_size: int = 1024) -> None:
        super().__init__()
        self.grid, self.img_size = grid, img_size
        self.pe_layer = FourierPositions(embed_dim // 2)
        self.invalid_points = nn.Embedding(1, embed_dim)
        self.point_embeddings = nn.Embedding(1, embed_dim)
        self.bbox_top_left_embeddings = nn.Embedding(1, embed_dim)
        self.bbox_bottom_right_embeddings = nn.Embedding(1, embed_dim)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """Embed points [B, P, K, 2] (x, y; input px) with labels [B, P, K] as tokens [B, P, 6, C].

        A negative coordinate becomes -1 and keeps its label; label 0 has no embedding and keeps its position
        only, both as in the released code.

        Raises:
            BenchError: if there are more than six points a prompt.
        """
        missing, labels = MAX_POINTS - labels.shape[-1], labels.to(points.device)
        if missing < 0:
            raise BenchError(f"EfficientSAM takes at most {MAX_POINTS} points a prompt, got {labels.shape[-1]}")
        points = torch.where((points < 0) | (labels == -1)[..., None], _NOWHERE, points)
        points = F.pad(points, (0, 0, 0, missing), value=_NOWHERE)
        labels = F.pad(labels, (0, missing), value=-1)
        positions = self.pe_layer((points + 0.5) / self.img_size)
        foreground = self.point_embeddings.weight
        by_label = torch.cat(
            [
                self.invalid_points.weight,
                torch.zeros_like(foreground),
                foreground,
                self.bbox_top_left_embeddings.weight,
                self.bbox_bottom_right_embeddings.weight,
            ]
        )  # labels -1, 0, 1, 2, 3
        return positions + by_label[labels + 1]  # type: ignore[no-any-return]

    def grid_positions(self) -> Tensor:
        """Return the positional encoding [grid * grid, C] of the patch centres."""
        table = self.pe_layer.positional_encoding_gaussian_matrix
        centres = (torch.arange(self.grid, device=table.device, dtype=table.dtype) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        return self.pe_layer(torch.stack([x, y], -1)).flatten(0, 1)  # type: ignore[no-any-return]
