"""From a photo to its saliency map: what the published code does around the network.

xuebinqin/U-2-Net, u2net_test.py and data_loader.py (RescaleT, ToTensorLab with flag 0).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.errors import BenchError

SIDE = 320
"""Of the published networks' input, px."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, for pixels in 0..1."""


def network_input(images: Tensor, side: int) -> Tensor:
    """Squash images to a square, divide each by its largest value, normalise.

    Resized bilinearly with antialiasing: the published code calls scikit-image's `resize`, whose filter differs a
    little from torch's.

    Args:
        images: [B, 3, H, W] RGB in 0..255, of any type.
        side: of the square, px.

    Returns:
        float32 [B, 3, side, side].
    """
    small = images.float()
    if small.shape[2:] != (side, side):
        small = F.interpolate(small, (side, side), mode="bilinear", align_corners=False, antialias=True)
    brightest = small.amax((1, 2, 3), keepdim=True)
    scaled = small / torch.where(brightest > 0, brightest, 1.0)
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    return (scaled - mean) / std


def as_map(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Turn the fused logits of one image into its saliency map, uint8 [H, W].

    The probabilities are stretched to 0..1 and resized bilinearly. A map that is the same everywhere tells of no
    object and becomes 0.

    Args:
        logits: [h, w].
        size: (H, W) of the photo, px.

    Raises:
        BenchError: if a logit is NaN or infinite.
    """
    if not logits.isfinite().all():
        raise BenchError("its saliency map is not finite: its weights are damaged or not its own")
    probability = logits.float().sigmoid()
    low, high = probability.min(), probability.max()
    stretched = (probability - low) / (high - low) if high > low else torch.zeros_like(probability)
    whole = F.interpolate(stretched[None, None], size, mode="bilinear", align_corners=False, antialias=True)
    return (255 * whole[0, 0].clamp(0, 1)).round().to(torch.uint8).cpu().numpy()


@torch.inference_mode()
def saliency_map(network: nn.Module, image: np.ndarray, side: int) -> np.ndarray:
    """Return the saliency map of a photo, uint8 [H, W], 255 the most salient.

    Args:
        network: in evaluation mode.
        image: uint8 [H, W, 3] RGB.
        side: of the network's input, px.

    Raises:
        BenchError: if the network's answer is not finite.
    """
    device = next(network.parameters()).device
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(device).permute(2, 0, 1)[None]  # [1, 3, H, W]
    logits: Tensor = network(network_input(pixels, side))
    return as_map(logits[0, 0], (image.shape[0], image.shape[1]))
