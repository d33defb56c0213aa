"""A start for patches and positions that are trained from scratch in minutes: waves instead of noise.

Our choice, for micro models only. A random projection of 768 pixels hides where in a patch an edge is, and thousands
of steps go by until training has found it again; the first cosine components of a patch tell it at once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from models.sami.positions import sine_cosine_positions


@torch.no_grad()
def start_from_cosines(projection: nn.Conv2d) -> None:
    """Set the weights [C, 3, p, p] of a patch embedding to cosine components, lowest first, colour by colour.

    Components are scaled by their frequency, since amplitudes in images fall as its inverse, so that outputs have
    about unit variance on normalised images. Channels left over keep their weights.
    """
    side = projection.kernel_size[0]
    waves = np.array([[np.cos(np.pi * (x + 0.5) * k / side) for x in range(side)] for k in range(side)])
    waves *= np.sqrt(np.where(np.arange(side) == 0, 1, 2) / side)[:, None]  # orthonormal rows
    frequencies = sorted(((v, u) for v in range(side) for u in range(side)), key=lambda f: (f[0] ** 2 + f[1] ** 2, f))
    for index, (v, u) in enumerate(frequencies[: projection.out_channels // 3]):
        component = np.outer(waves[v], waves[u]) * (1 + np.hypot(v, u)) / (2 * side)
        for colour in range(3):
            projection.weight[3 * index + colour] = 0
            projection.weight[3 * index + colour, colour] = torch.from_numpy(component)
    if projection.bias is not None:
        projection.bias.zero_()


@torch.no_grad()
def start_from_waves(positions: nn.Parameter) -> None:
    """Set a position table to the sines and cosines of MAE (He et al. 2022), in place.

    Args:
        positions: SAM's [1, h, w, C] or, with a class token that becomes zero, [1, 1 + h * w, C] of a square grid;
            C a multiple of 4.
    """
    channels = positions.shape[-1]
    side = positions.shape[1] if positions.ndim == 4 else round((positions.shape[1] - 1) ** 0.5)
    waves = sine_cosine_positions(side, channels)  # [side, side, C]
    if positions.ndim == 4:
        positions.copy_(waves[None])
    else:
        positions[:, 1:].copy_(waves.flatten(0, 1)[None])
        positions[:, :1] = 0
