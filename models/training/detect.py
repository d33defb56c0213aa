"""The `detect` stage: finetuning a ViTDet on boxes and masks (section 4.1, COCO finetuning)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from models.preprocessing import normalise
from models.training.classify import torch_seeded_by
from models.training.recipes import DetectRecipe

LOSSES = ("rpn_class", "rpn_box", "class", "box", "mask")
"""The five losses, of equal weight as in Mask R-CNN."""


def detect_stage() -> Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]:
    """Return the losses of a batch {"images": uint8 [B, 3, S, S], "targets": a dict for each image}.

    A target has "boxes" float32 [N, 4] (xyxy, px), "labels" int64 [N] from 1 on and "masks" bool [N, S, S].
    Which anchors and boxes are sampled follows the step's generator.
    """

    def losses(network: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        device = next(network.parameters()).device
        pixels = normalise(batch["images"], device)
        targets = [
            {name: torch.from_numpy(array).to(device) for name, array in target.items()} for target in batch["targets"]
        ]
        with torch_seeded_by(generator, device):
            terms = network(pixels, targets)
        return {"loss": torch.stack([terms[name] for name in LOSSES]).sum(), **terms}

    return losses


def detector_groups(network: nn.Module, recipe: DetectRecipe) -> list[dict[str, Any]]:
    """Return AdamW's parameter groups as detectron2's mask_rcnn_vitdet_b_100ep makes them, a group a parameter.

    A block of the ViT learns at the recipe's `layer_decay` times the rate of the next one, patches and positions at
    that times the first block's, all other parts at the full rate. Positions and the ViT's norms do not decay; biases
    do, and so do the norms of pyramid and heads, which are no `nn.LayerNorm` there either.

    Args:
        network: a ViTDet.
        recipe: learning rate, weight decay, layer decay; without layer decay all learn at the same rate.
    """
    last = len(network.backbone.blocks) + 1  # type: ignore[union-attr, arg-type]
    groups: list[dict[str, Any]] = []
    for module_name, module in network.named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            norm = isinstance(module, nn.LayerNorm) and not isinstance(module, LayerNorm2d)
            fixed = norm or own_name == "pos_embed"
            layer = _layer(f"{module_name}.{own_name}", last)
            groups.append(
                {
                    "params": [parameter],
                    "weight_decay": 0.0 if fixed else recipe.weight_decay,
                    "lr": recipe.learning_rate * (recipe.layer_decay or 1.0) ** (last - layer),
                }
            )
    return groups


def _layer(name: str, last: int) -> int:
    """Return the place of a parameter in the ViT: 0 for patches and positions, then the blocks, `last` behind it."""
    if name.startswith(("backbone.pos_embed", "backbone.patch_embed")):
        return 0
    return int(name.split(".")[2]) + 1 if name.startswith("backbone.blocks.") else last
