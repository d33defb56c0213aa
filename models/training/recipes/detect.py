"""Finetuning a ViTDet on COCO (section 4.1): Table 2.

bench train vitdet-sami-b           5.6e19 FLOP, 124 hours of an A100 by --dry-run; never run at that scale
bench train vitdet-sami-ti-micro    658 s on one core: box AP 43.1, 40.5, 40.0 of three seeds, MAE 37.7, 37.4, 35.4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.training.recipes.recipe import Recipe

MEAN_RGB = (124, 116, 104)
"""ImageNet's mean in whole values: zero once normalised, to 0.01."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectRecipe(Recipe):
    """Section 4.1, finetuning on COCO."""

    image_size: int = 1024
    """Side of the square input, px (section 4.1)."""
    jitter: tuple[float, float] = (0.1, 2.0)
    """Large-scale jitter: the photo's longer side over the input's (Li et al. 2022)."""
    padding: tuple[int, int, int] = MEAN_RGB
    """RGB beside a photo that is smaller than the input; zero once normalised is what ViTDet's loader pads with, and
    what is beside photos when a detector is asked."""
    layer_decay: float | None = None
    """Learning rate of a block over that of the next one; None: one rate for all."""
    decayed: Literal["all but norms and positions", "matrices"] = "all but norms and positions"
    """Which parameters weight decay shrinks: detectron2's choice for ViTDet, or none of one dimension."""
    drop_path: float = 0.0
    """Stochastic depth of the last block."""


COCO_IMAGES = 118_287
"""Photos of COCO train2017, as an epoch is counted; those without objects are kept out of training."""
_COCO_EPOCH = COCO_IMAGES // 64  # steps of batch 64, section 4.1
DETECT_PAPER = DetectRecipe(
    steps=100 * _COCO_EPOCH,  # section 4.1, as the next six
    images_per_step=64,
    learning_rate=2e-4,
    weight_decay=0.1,
    schedule="cosine",
    warmup_steps=10 * _COCO_EPOCH,
    image_size=1024,
    drop_path=0.1,  # ViTDet-B's, paper silent, as the next two
    layer_decay=0.7,
    decayed="all but norms and positions",
    precision="bf16",  # our choice, paper silent
    checkpoint_every=_COCO_EPOCH,
)
DETECT_MICRO = DetectRecipe(
    steps=1500,
    images_per_step=4,
    learning_rate=1e-3,
    muon_learning_rate=3e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=150,  # a tenth, as section 4.1
    warmup_ahead=1,
    clip_norm=1.0,
    image_size=256,
    jitter=(0.75, 1.5),
    padding=(128, 128, 128),
    decayed="matrices",
    checkpoint_every=100,
)
