"""A start for patch embeddings that are trained from scratch in minutes: the low frequencies of each colour.

Our choice, for micro models only. A random projection of 768 pixels hides where in a patch an edge is, and thousands
of steps go by until training has found it again; the first cosine components of a patch tell it at once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


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
