"""MAE's fixed positions: sines and cosines of row and column (He et al. 2022)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def sine_cosine_positions(side: int, channels: int) -> Tensor:
    """Return MAE's fixed positions [side, side, channels]: half for the column, half for the row, sines first.

    Frequencies fall geometrically from 1 to 1 / 10,000; computed in float64 as the public code does.
    """
    frequencies = 1 / 10_000 ** (np.arange(channels // 4) / (channels // 4))
    angles = np.arange(side)[:, None] * frequencies  # [side, C / 4]
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # [side, C / 2]
    shape = (side, side, channels // 2)
    table = np.concatenate([np.broadcast_to(waves[None], shape), np.broadcast_to(waves[:, None], shape)], axis=2)
    return torch.from_numpy(table).float()


def positions_with_class(grid: int, channels: int) -> Tensor:
    """Return positions [1, 1 + grid * grid, channels] whose first row, the class token's, is zero."""
    waves = sine_cosine_positions(grid, channels).flatten(0, 1)  # [N, C]
    return torch.cat([waves.new_zeros(1, channels), waves])[None]
