"""Finetuning on ImageNet-1K (section 4.1): Table 1, and what Tables 6 and 7 count.

bench train sami-ti-classify          9.6e17 FLOP, 2 hours of an A100 by --dry-run; never run at that scale
bench train sami-ti-micro-classify    124 s on one core: 56 to 70 % top-1 by seed (16 classes)
"""

from __future__ import annotations

from dataclasses import dataclass

from models.training.recipes.masked import IMAGENET_IMAGES
from models.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyRecipe(Recipe):
    """Section 4.1, finetuning on ImageNet-1K."""

    layer_decay: float | None = None
    """Learning rate of a block over that of the next one."""
    rand_augment: str | None = None
    """timm's RandAugment setting."""
    label_smoothing: float = 0.1
    """Share of the label spread over all classes."""
    mixup: float = 0.0
    """Alpha of mixup."""
    cutmix: float = 0.0
    """Alpha of cutmix."""
    drop_path: float = 0.0
    """Stochastic depth of the last block."""
    random_erasing: float = 0.0
    """Probability of erasing a rectangle."""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Area of random resized crops."""


_EPOCH = IMAGENET_IMAGES // 1024  # steps of batch 1024, section 4.1
CLASSIFY_PAPER = ClassifyRecipe(
    steps=100 * _EPOCH,
    images_per_step=1024,
    learning_rate=1e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=5 * _EPOCH,
    layer_decay=0.75,  # S and B; None for Ti
    rand_augment="rand-m9-mstd0.5-inc1",
    label_smoothing=0.1,
    mixup=0.8,
    cutmix=1.0,  # this and the next two: MAE's, paper silent
    drop_path=0.1,
    random_erasing=0.25,
    precision="bf16",
    checkpoint_every=_EPOCH,
)
CLASSIFY_MICRO = ClassifyRecipe(
    steps=500,
    images_per_step=32,
    learning_rate=2e-3,
    muon_learning_rate=6e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=25,  # a twentieth, as section 4.1
    warmup_ahead=1,
    crop_scale=(0.5, 1.0),
    checkpoint_every=100,
)
