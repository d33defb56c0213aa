"""Prompts drawn from ground-truth masks for training: boxes with noise and uniform random clicks.

Points are where the masks are, labels on the CPU: a prompt encoder asks which kinds there are, and waits for no GPU
then.
"""

from __future__ import annotations

import torch
from torch import Tensor

BOX_NOISE = 0.1
"""Standard deviation of a corner, as a share of the box's side (SAM, appendix A)."""
MOST_BOX_NOISE = 20 / 1024
"""Cap of that noise, as a share of the image's side: 20 px of 1024 (SAM, appendix A)."""


def noisy_boxes(masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the corners of each mask's tight box, moved a little, and their labels.

    Args:
        masks: bool [B, P, S, S], none empty.
        generator: draws the noise.

    Returns:
        points [B, P, 2, 2] (x, y) in px, labels [B, P, 2].
    """
    side = masks.shape[-1]
    columns, rows = masks.any(dim=-2), masks.any(dim=-1)  # [B, P, S]
    x0, y0 = columns.int().argmax(-1), rows.int().argmax(-1)
    x1, y1 = side - columns.flip(-1).int().argmax(-1), side - rows.flip(-1).int().argmax(-1)
    corners = torch.stack([x0, y0, x1, y1], dim=-1).float()  # [B, P, 4] xyxy
    sides = torch.stack([x1 - x0, y1 - y0] * 2, dim=-1).float()
    most = MOST_BOX_NOISE * side
    noise = torch.randn(corners.shape, generator=generator).to(corners) * (BOX_NOISE * sides).clamp(max=most)
    points = (corners + noise.clamp(-most, most)).clamp(0, side).unflatten(-1, (2, 2))
    return points, torch.tensor([2, 3]).expand(points.shape[:3])


def random_clicks(masks: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return `count` uniform random pixels of each mask, with replacement, and their labels.

    Args:
        masks: bool [B, P, S, S], none empty.
        count: clicks a mask.
        generator: draws the clicks.

    Returns:
        points [B, P, count, 2] (x, y) in px, labels [B, P, count], all 1.
    """
    width = masks.shape[-1]
    reached = masks.flatten(2).cumsum(-1, dtype=torch.int32)  # [B, P, S * S], pixels of the mask so far
    share = torch.rand(*masks.shape[:2], count, generator=generator).to(masks.device)
    rank = (share * reached[..., -1:]).int().clamp(max=reached[..., -1:] - 1)  # [B, P, count], from 0
    pixels = torch.searchsorted(reached, rank, right=True)
    points = torch.stack([pixels % width, pixels // width], dim=-1).float()  # [B, P, count, 2]
    return points, torch.ones(points.shape[:3], dtype=torch.long)
