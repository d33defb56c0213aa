"""The simple feature pyramid: five scales from the last map of a plain ViT (Li et al. 2022, section 3)."""

from __future__ import annotations

import torch.nn.functional as F
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

LEVELS = ("p2", "p3", "p4", "p5", "p6")
"""The heads pool from the first four."""
STRIDES = (4, 8, 16, 32, 64)
"""Of the levels, px."""


class SimpleFeaturePyramid(nn.Module):
    """Turn a map [B, width, S / 16, S / 16] into maps [B, channels, S / s, S / s] for strides s of 4 to 64.

    Args:
        width: channels of the ViT.
        channels: of every level.
    """

    def __init__(self, width: int, channels: int = 256) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        resized: dict[str, tuple[int, list[nn.Module]]] = {
            "p2": (quarter, [*_upsampled(width, half), LayerNorm2d(half), nn.GELU(), *_upsampled(half, quarter)]),
            "p3": (half, _upsampled(width, half)),
            "p4": (width, []),
            "p5": (width, [nn.MaxPool2d(2, 2)]),
        }
        self.levels = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Sequential(*layers), _normed(inside, channels, 1), _normed(channels, channels, 3)
                )
                for name, (inside, layers) in resized.items()
            }
        )
        self.channels = channels

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Return the five maps by level, the finest first."""
        maps = {name: level(features) for name, level in self.levels.items()}
        return {**maps, "p6": F.max_pool2d(maps["p5"], 1, stride=2)}


def _upsampled(width: int, channels: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(width, channels, 2, stride=2)]


def _normed(width: int, channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, channels, kernel, padding=kernel // 2, bias=False), LayerNorm2d(channels))
