"""The `sami` and `mae` stages: reconstruct what is hidden of an image (section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.preprocessing import normalise
from models.sami.network import mask_patches, reconstruction_loss
from models.sami.targets import Target
from models.training.recipes import MaskedRecipe


def masked_stage(
    recipe: MaskedRecipe, target: Target | None
) -> Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]:
    """Return the loss of a batch {"images": uint8 [B, 3, S, S]}, with "features" [B, N, C] if they are cached.

    Args:
        recipe: mask ratio, loss and which tokens count.
        target: makes the features of batches that bring none; None if all bring them.
    """

    def losses(network: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        device = next(network.parameters()).device
        pixels = normalise(batch["images"], device)
        wanted = torch.from_numpy(batch["features"]).to(device) if "features" in batch else _of(target)(pixels)
        noise = torch.rand(*wanted.shape[:2], generator=generator).to(device)
        masking = mask_patches(noise, recipe.mask_ratio)
        predicted = network(pixels, masking)
        counted = masking.mask if recipe.loss_tokens == "masked" else None
        loss = reconstruction_loss(predicted.float(), wanted.float(), loss=recipe.loss, mask=counted)
        return {"loss": loss}

    return losses


def _of(target: Target | None) -> Target:
    if target is None:
        raise ValueError("a batch without features needs a target that makes them")
    return target
