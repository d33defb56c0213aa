"""What any stage needs of a recipe: optimiser, schedule, batch, seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.errors import BenchError


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
    """Decoupled weight decay, on matrices only where a recipe does not say otherwise."""
    schedule: Literal["linear", "cosine", "poly"] = "linear"
    """Decay to zero; poly is linear to the power 0.9."""
    warmup_steps: int = 0
    """Linear warm-up."""
    warmup_ahead: Literal[0, 1] = 0
    """Step s of the warm-up learns at (s + this) / warmup_steps of the peak: MAE's code begins at zero."""
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


def images_per_batch(recipe: Recipe, processes: int) -> int:
    """Return the images of one micro-batch of one process.

    Raises:
        BenchError: if a step's images cannot be shared equally.
    """
    images, rest = divmod(recipe.images_per_step, processes * recipe.accumulate)
    if rest:
        raise BenchError(
            f"{recipe.images_per_step} images a step cannot be shared equally by {processes} processes with "
            f"{recipe.accumulate} micro-batches each: change --images-per-step, --accumulate or the processes"
        )
    return images
