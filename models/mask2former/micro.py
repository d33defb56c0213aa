"""Micro Mask2Former: the same network behind the micro encoders, at 256 px, for two CPU cores."""

from __future__ import annotations

from torch import nn

from models.mask2former.build import mask2former
from models.mask2former.config import Mask2FormerSizes

CLASSES = 17
"""Of dead leaves as ADE20K."""
CROP = 256


def mask2former_micro(*, embed_dim: int, depth: int, num_heads: int) -> nn.Module:
    """Build a micro Mask2Former behind a ViT of this size; see `mask2former`."""
    sizes = Mask2FormerSizes(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        classes=CLASSES,
        channels=48,
        heads=4,
        groups=8,
        pixel_layers=1,
        decoder_layers=3,
        queries=20,
        pixel_hidden=96,
        decoder_hidden=96,
        points=784,
        test_shorter_side=CROP,
    )
    return mask2former(sizes, crop=CROP)
