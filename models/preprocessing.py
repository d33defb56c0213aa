"""What images are to networks: SAM's normalisation, which is ImageNet's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.frames import PIXEL_MEAN, PIXEL_STD


def normalise(images: np.ndarray, device: torch.device) -> Tensor:
    """Turn images uint8 [B, 3, S, S] into network input [B, 3, S, S] with SAM's constants (ImageNet's x 255)."""
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    return (torch.from_numpy(images).to(device) - mean) / std
