"""Deterministic weights and images, so that two implementations can be compared without a checkpoint.

Every value depends only on the name of its state-dict entry and on its shape.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

_BLOCK = 40
_TABLES = ("pos_embed", "rel_pos_h", "rel_pos_w")


def value(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Return the float32 values of one state-dict entry.

    Args:
        name: full name of the entry; its CRC-32 seeds the generator.
        shape: shape of the entry.

    Returns:
        Matrices and kernels scaled to unit gain, scales near one, biases near zero, positive variances.
    """
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(
        tuple(shape), dtype=np.float32
    )
    leaf = name.rpartition(".")[2]
    if leaf == "positional_encoding_gaussian_matrix":
        return noise
    if leaf == "running_var":
        return np.asarray(1 + 0.1 * np.abs(noise))
    if leaf in _TABLES:
        return np.asarray(0.1 * noise)
    if noise.ndim >= 2 and leaf != "running_mean":
        return np.asarray(noise * float(math.prod(shape[1:])) ** -0.5)
    return np.asarray(1 + 0.1 * noise) if leaf == "weight" else np.asarray(0.1 * noise)


def fill(module: torch.nn.Module) -> torch.nn.Module:
    """Overwrite every floating entry of the module's state dict with `value` and return it in eval mode."""
    state = {
        name: torch.from_numpy(value(name, entry.shape)).to(entry.dtype) if entry.is_floating_point() else entry
        for name, entry in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module.eval()


def image(height: int = 480, width: int = 640, seed: int = 0) -> NDArray[np.uint8]:
    """Return a uint8 [height, width, 3] image: gradients under blocks of seeded noise.

    Sizes that are not multiples of 40 are cut from the next multiple.
    """
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    coarse = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (rows, columns, 3)).astype(np.float64)
    blocks = np.kron(coarse, np.ones((_BLOCK, _BLOCK, 1)))[:height, :width]
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([255 * x / (width - 1), 255 * y / (height - 1), 255 * (x + y) / (width + height - 2)], -1)
    return np.asarray(np.floor(0.6 * blocks + 0.4 * ramp), dtype=np.uint8)
