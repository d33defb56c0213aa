"""SAMI and MAE pretraining (section 3.2), and the arms of Tables 6, 7 and section 4.4's ablations.

bench train sami-ti          1.4e20 FLOP, 320 hours of an A100 by --dry-run; never run at that scale
bench train sami-ti-micro    about 330 s on one core: 69.5 to 71.2 mIoU of a box of three seeds once finetuned,
                             MAE 65.9 to 66.7, without pretraining 65.8 to 67.2
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from models.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedRecipe(Recipe):
    """Section 3.2: masked image pretraining. SAMI, its ablations (section 4.4) and MAE are settings of these fields."""

    target: Literal["sam", "clip", "pixels"] = "sam"
    """What is reconstructed: features of SAM's or CLIP's image encoder, or pixels."""
    decoder: Literal["masked", "all"] = "masked"
    """Tokens that the decoder updates: the masked ones alone (cross-attention), or all (self-attention)."""
    loss: Literal["mse", "cosine"] = "mse"
    """Squared error (equation 1), or 1 - cosine (Table 6)."""
    loss_tokens: Literal["all", "masked"] = "all"
    """Tokens that count: all N (equation 1), or the masked ones (MAE)."""
    mask_ratio: float = 0.75
    """Share of the tokens that are hidden (section 4.4, Table 7)."""
    norm_pixels: bool = False
    """Whether pixel targets are normalised patch by patch (MAE)."""
    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Area of random resized crops; section 4.1 names crop and flip, the range is MAE's."""
    views: int | None = None
    """Different crops of each image over the whole run, so that features can be cached; None for ever new ones."""


IMAGENET_IMAGES = 1_281_167
"""Training images of ImageNet-1K."""
SAMI_PAPER = MaskedRecipe(
    steps=400 * IMAGENET_IMAGES // 4096,  # 400 epochs of batch 4096, section 4.1
    images_per_step=4096,
    learning_rate=2.4e-3,  # 1.5e-4 x 4096 / 256, section 4.1
    weight_decay=0.05,
    betas=(0.9, 0.95),
    schedule="cosine",
    warmup_steps=40 * IMAGENET_IMAGES // 4096,  # 40 epochs, section 4.1
    precision="bf16",  # our choice, paper silent
    checkpoint_every=1000,
)
MAE_PAPER = replace(
    SAMI_PAPER,
    target="pixels",
    decoder="all",
    loss_tokens="masked",
    norm_pixels=True,  # He et al. 2022
)
SAMI_MICRO = MaskedRecipe(
    steps=2000,  # 9 images for each of finetuning on masks, as in the paper (400 x 1.28 M : 5 x 11.2 M)
    images_per_step=32,
    learning_rate=2e-3,
    weight_decay=0.05,
    betas=(0.9, 0.95),
    schedule="cosine",
    warmup_steps=200,  # a tenth, as section 4.1
    warmup_ahead=1,
    crop_scale=(0.4, 1.0),
    views=1,
    checkpoint_every=200,
)
MAE_MICRO = replace(SAMI_MICRO, target="pixels", decoder="all", loss_tokens="masked", norm_pixels=True)
SCRATCH_MICRO = replace(MAE_MICRO, steps=0, warmup_steps=0)
"""No pretraining: the encoder that all arms of a seed start from, as a control."""
