"""FastSAM (arXiv 2306.12156): a YOLOv8-seg that finds all objects of an image.

bench train fastsam-micro    1,370 s on one core; Table 5
"""

from __future__ import annotations

from dataclasses import dataclass

from models.training.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class FastSamRecipe(Recipe):
    """FastSAM (arXiv 2306.12156): YOLOv8-seg finds all objects of an image, whatever they are; ultralytics' losses."""

    box_gain: float = 7.5
    """Weight of the boxes' CIoU and of the masks' cross-entropy; ultralytics' default, as the next two."""
    class_gain: float = 0.5
    """Weight of object or not."""
    distribution_gain: float = 1.5
    """Weight of the distribution over bins of each box side."""


FASTSAM_MICRO = FastSamRecipe(
    steps=1500,
    images_per_step=16,
    learning_rate=3e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=75,  # a twentieth
    warmup_ahead=1,
    clip_norm=10.0,  # ultralytics'
    checkpoint_every=100,
)
