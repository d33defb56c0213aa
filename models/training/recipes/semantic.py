"""Semantic segmentation on ADE20K with Mask2Former (section 4.2): Table 3.

bench train mask2former-sami-b           2.6e18 FLOP, 6 hours of an A100 by --dry-run; never run at that scale
bench train mask2former-sami-ti-micro    199 s on one core: mIoU 74.1, MAE 48.8 (seed 0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticRecipe(Recipe):
    """Section 4.2, semantic segmentation on ADE20K with Mask2Former."""

    warmup_ahead: Literal[0, 1] = 1
    """See `Recipe`; mmengine's warm-up cannot begin at zero."""
    crop_size: int = 512
    """Side of a crop, px."""
    scales: tuple[float, float] = (0.5, 2.0)
    """Range of the photo's shorter side over the crop's, before the crop is cut (mmsegmentation's for Mask2Former)."""
    colours: bool = True
    """Whether colours are distorted (mmsegmentation's for Mask2Former)."""
    backbone_multiplier: float = 0.1
    """Learning rate of the backbone over that of the rest."""
    backbone_norms_decay: bool = False
    """Whether weight decay shrinks the backbone's norms and positions too; Mask2Former's own does not."""


SEMANTIC_PAPER = SemanticRecipe(
    steps=160_000,  # this and the next four: section 4.2
    images_per_step=16,
    learning_rate=2e-4,
    weight_decay=0.05,
    schedule="poly",
    clip_norm=0.01,  # Mask2Former's, paper silent
    precision="bf16",  # our choice, paper silent
    checkpoint_every=5000,
)
SEMANTIC_MICRO = SemanticRecipe(
    steps=900,
    images_per_step=4,
    learning_rate=1e-3,
    weight_decay=0.05,
    schedule="poly",
    clip_norm=0.01,
    crop_size=256,
    scales=(1.0, 1.5),
    colours=False,
    backbone_multiplier=0.5,  # encoders pretrained for minutes have more to learn than the paper's
    backbone_norms_decay=True,
    checkpoint_every=100,
)
