"""The `salient` stage: U²-Net learns the map of the salient object, at every depth of the decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.training.losses import mask_iou
from models.training.recipes import SalientRecipe
from models.u2net.maps import network_input


def salient_stage(recipe: SalientRecipe) -> Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]:
    """Return the losses of a batch {"images": uint8 [B, 3, H, W] RGB, "masks": bool [B, H, W]}.

    Each map's cross-entropy is with the share of the object in each of its pixels; nothing is drawn at random.
    """

    def losses(network: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        device = next(network.parameters()).device
        pixels = network_input(torch.from_numpy(batch["images"]).to(device), recipe.side)
        masks = torch.from_numpy(batch["masks"]).to(device)
        shares = F.interpolate(masks[:, None].float(), (recipe.side, recipe.side), mode="area")  # [B, 1, S, S]
        maps = network(pixels)  # [B, 7, S, S]
        entropies = F.binary_cross_entropy_with_logits(maps, shares.expand_as(maps), reduction="none").mean((0, 2, 3))
        return {
            "loss": entropies.sum(),
            "fused": entropies[0].detach(),
            "fused_iou": mask_iou(maps[:, 0], shares[:, 0]).mean(),
        }

    return losses
