"""The `detect` stage: finetuning a ViTDet on boxes and masks (section 4.1, COCO finetuning)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.training.classify import torch_seeded_by
from models.training.promptable import normalise

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
