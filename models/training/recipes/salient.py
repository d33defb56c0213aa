"""Salient object detection with U²-Net (section 4.3 takes its maps): table `salient`.

bench train u2netp-micro    1,932 s at the lowest priority on a shared core: S-measure 86.5, mIoU 73.5 (seed 0)
"""

from __future__ import annotations

from dataclasses import dataclass

from models.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class SalientRecipe(Recipe):
    """U²-Net (Qin et al. 2020, section 3.4): cross-entropy of all seven maps, each of the same weight."""

    side: int
    """Of the network's input, px."""


SALIENT_MICRO = SalientRecipe(
    steps=500,
    images_per_step=8,  # published: 12
    learning_rate=3e-3,  # published: 1e-3 without a schedule, for 600,000 steps
    weight_decay=0.0,  # as published
    schedule="cosine",
    warmup_steps=25,
    warmup_ahead=1,
    side=64,
    checkpoint_every=50,
)
