"""Losses of promptable training: focal and dice on masks, squared error on the predicted IoU (SAM, appendix A)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FOCAL_TO_DICE = 20.0
"""SAM, appendix A: focal and dice loss are mixed 20 : 1."""


def focal_loss(logits: Tensor, coverage: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of each mask, the mean over its pixels.

    Args:
        logits: [..., h, w].
        coverage: [..., h, w] in 0..1, the share of each low-resolution pixel that the mask covers. With 0 / 1
            targets this is the focal loss of Lin et al. (2017) without alpha; between them it is its
            continuous form (Li et al. 2020, generalized focal loss), whose minimum is the coverage itself.
        gamma: focusing exponent.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, coverage, reduction="none")
    return ((logits.sigmoid() - coverage).abs() ** gamma * entropy).mean(dim=(-2, -1))


def dice_loss(logits: Tensor, coverage: Tensor) -> Tensor:
    """Return 1 - dice of each mask, [...], with one pixel of smoothing (Milletari et al. 2016)."""
    probability = logits.sigmoid()
    overlap = (probability * coverage).sum(dim=(-2, -1))
    total = probability.sum(dim=(-2, -1)) + coverage.sum(dim=(-2, -1))
    return 1 - (2 * overlap + 1) / (total + 1)


@torch.no_grad()
def mask_iou(logits: Tensor, coverage: Tensor) -> Tensor:
    """Return the IoU of each thresholded mask with the truth at the same resolution, [...]."""
    prediction, truth = logits > 0, coverage > 0.5
    union = (prediction | truth).sum(dim=(-2, -1))
    return (prediction & truth).sum(dim=(-2, -1)) / union.clamp(min=1)


def best_of_candidates_loss(logits: Tensor, predicted_iou: Tensor, coverage: Tensor) -> dict[str, Tensor]:
    """Return the losses of P prompts with M candidate masks each, averaged over prompts.

    Only the best candidate's mask loss flows back, so that the candidates specialise (SAM, section 3); the
    predicted IoU of every candidate is regressed, so that they can be ranked.

    Args:
        logits: [B, P, M, h, w].
        predicted_iou: [B, P, M].
        coverage: [B, P, h, w] in 0..1.
    """
    target = coverage.unsqueeze(2).expand_as(logits)
    focal, dice = focal_loss(logits, target), dice_loss(logits, target)  # [B, P, M] each
    mask, best = (FOCAL_TO_DICE * focal + dice).min(dim=2)
    iou = mask_iou(logits, target)
    return {
        "mask": mask.mean(),
        "iou": F.mse_loss(predicted_iou, iou),
        "best_iou": iou.gather(2, best.unsqueeze(2)).mean(),
    }
