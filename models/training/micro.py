"""How each committed micro model was trained: its builder, its stage, its recipe.

`nox -s train_micro` runs these, two at a time on two cores, and writes models/weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from models import micro
from models.training.recipes import DISTILL_MICRO, PROMPTABLE_MICRO, DistillRecipe, PromptableRecipe

SCENES = 6000
"""Dead leaves scenes in the training world."""


@dataclass(frozen=True, slots=True)
class MicroRun:
    """One model of the micro zoo."""

    build: Callable[[], nn.Module]
    """The untrained network."""
    recipe: PromptableRecipe | DistillRecipe
    """Its stage follows from the type."""
    teacher: str | None = None
    """Name of the micro model whose image embedding is imitated and whose decoder is taken over."""


MICRO_RUNS: dict[str, MicroRun] = {
    "sam-micro": MicroRun(
        micro.sam_micro,
        replace(
            PROMPTABLE_MICRO,
            steps=4500,
            images_per_step=16,
            learning_rate=2e-3,
            muon_learning_rate=6e-3,
            warmup_steps=100,
            single_mask_share=0.1,
        ),
    ),
    "efficientsam-s-micro": MicroRun(micro.efficientsam_s_micro, PROMPTABLE_MICRO),
    "efficientsam-ti-micro": MicroRun(micro.efficientsam_ti_micro, replace(PROMPTABLE_MICRO, steps=1700)),
    "mobilesam-micro": MicroRun(micro.mobilesam_micro, DISTILL_MICRO, teacher="sam-micro"),
}
