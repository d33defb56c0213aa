"""Training recipes as frozen data: `paper` fields name the section they come from, the rest is our choice.

`micro` recipes train the 256 px models on two CPU cores: `nox -s train_micro`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What any stage needs: optimiser, schedule, batch, seed."""

    steps: int
    """Optimiser steps."""
    images_per_step: int
    """Images a step, over all processes."""
    learning_rate: float
    """Peak learning rate."""
    weight_decay: float
    """Decoupled weight decay, on matrices only."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Decay to zero."""
    warmup_steps: int = 0
    """Linear warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW moments."""
    muon_learning_rate: float | None = None
    """Peak learning rate of Muon (Jordan 2024; scaled to AdamW's updates) on the weights of linear layers; None
    leaves them to AdamW. Our choice, for micro models only."""
    accumulate: int = 1
    """Gradient accumulation: micro-batches a step."""
    clip_norm: float | None = None
    """Largest gradient norm; None is off."""
    precision: Literal["no", "bf16", "fp16"] = "no"
    """Mixed precision."""
    seed: int = 0
    """Of initialisation, data order and prompts."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptableRecipe(Recipe):
    """Section 4.1, finetuning on SA-1B, and section 4.4's prompts."""

    prompts: tuple[tuple[Literal["box", "click"], int], ...] = (("box", 1), ("click", 1), ("click", 3))
    """Kinds of prompt asked in each step, (kind, count); our choice, paper silent on the mix."""
    masks_per_prompt: int = 4
    """Masks of each image that get each kind of prompt."""
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
PROMPTABLE_MICRO = PromptableRecipe(
    steps=3000,
    images_per_step=8,
    learning_rate=1.5e-3,
    weight_decay=0.05,
    warmup_steps=200,
    clip_norm=1.0,
    masks_per_prompt=4,
)
DISTILL_PAPER = DistillRecipe(
    steps=8 * 125_000 // 8,  # MobileSAM, section 4: 8 epochs of 1 % of SA-1B, batch 8
    images_per_step=8,
    learning_rate=1e-3,
    weight_decay=5e-4,
    precision="bf16",
)
DISTILL_MICRO = DistillRecipe(
    steps=800,
    images_per_step=16,
    learning_rate=2e-3,
    weight_decay=0.05,
    warmup_steps=100,
    clip_norm=1.0,
)
