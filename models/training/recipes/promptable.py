"""Finetuning on masks with box and click prompts (section 4.1, SA-1B), and MobileSAM's distillation.

bench train efficientsam-ti          6.0e19 FLOP, 133 hours of an A100 by --dry-run; never run at that scale
bench train efficientsam-ti-micro    469 s on one core: 71 mIoU of a box prompt after five epochs (Figure 7)
bench train sam-micro                4,344 s on two cores
bench train mobilesam-micro          903 s on one core
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from models.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptableRecipe(Recipe):
    """Section 4.1, finetuning on SA-1B, and section 4.4's prompts."""

    prompts: tuple[tuple[Literal["box", "click"], int], ...] = (("box", 1), ("click", 1), ("click", 3))
    """Kinds of prompt asked in each step, (kind, count); our choice, paper silent on the mix."""
    masks_per_prompt: int = 4
    """Masks of each image that get each kind of prompt."""
    encoder_multiplier: float = 1.0
    """Learning rate of the pretrained encoder over that of the neck, the prompts and the decoder, which start anew; our
    choice, paper silent."""
    iou_weight: float = 1.0
    """Weight of the predicted-IoU regression (SAM, appendix A)."""
    single_mask_share: float = 0.0
    """Share of steps in which boxes and several clicks train the single-mask token instead of the three (SAM,
    appendix A, uses that token for them; EfficientSAM's is not trained at all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillRecipe(Recipe):
    """MobileSAM's decoupled distillation: the student's image embedding imitates the teacher's."""


SA1B_IMAGES = 11_185_362
"""Images of the published SA-1B."""
PROMPTABLE_PAPER = PromptableRecipe(
    steps=5 * SA1B_IMAGES // 128,  # 5 epochs of batch 128, section 4.1
    images_per_step=128,
    learning_rate=4e-4,  # linear to 0, section 4.1
    weight_decay=0.1,
    masks_per_prompt=21,  # three kinds, 63 of up to 64 masks an image
    precision="bf16",
    checkpoint_every=2000,
)


FINETUNE_SCENES = 1400
"""Dead leaves scenes of one "epoch" of micro finetuning."""
PROMPTABLE_MICRO = PromptableRecipe(
    steps=5 * FINETUNE_SCENES // 8,  # 5 epochs, as section 4.1
    images_per_step=8,
    learning_rate=2e-3,
    muon_learning_rate=6e-3,
    weight_decay=0.05,
    warmup_steps=100,
    warmup_ahead=1,
    clip_norm=1.0,
    encoder_multiplier=0.25,  # a pretrained encoder has less to learn: found on a development world
    masks_per_prompt=4,
)
SAM_MICRO = replace(PROMPTABLE_MICRO, steps=4500, images_per_step=16, encoder_multiplier=1.0, single_mask_share=0.1)
DISTILL_MICRO = DistillRecipe(
    steps=900,
    images_per_step=16,
    learning_rate=2e-3,
    muon_learning_rate=6e-3,
    weight_decay=0.05,
    warmup_steps=100,
    warmup_ahead=1,
    clip_norm=1.0,
)
