"""The `fastsam` stage: YOLOv8-seg learns to find all objects of an image at once, of one class, as FastSAM does.

Network, assignment of objects to cells and losses are `ultralytics`'; the loop is ours (models/training/loop.py), so
that a killed run goes on in the same bits and nothing is written but the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.training.recipes import FastSamRecipe

TERMS = {"box": "box_loss", "mask": "seg_loss", "class": "cls_loss", "distribution": "dfl_loss"}
"""Our name of each loss, and ultralytics'."""


def fastsam_stage(
    network: Any, recipe: FastSamRecipe
) -> Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]:
    """Return the losses of a batch for a `models.fastsam.yolo.fastsam_micro`, which is told the recipe's gains.

    A batch has "images" uint8 [B, 3, S, S] RGB and, of all N objects in them, "image" int64 [N] (whose object it
    is), "boxes" float32 [N, 4] (centre x, centre y, width, height over S) and "masks" float32 [N, S / 4, S / 4].
    Nothing is drawn at random.
    """
    network.args.box, network.args.cls, network.args.dfl = recipe.box_gain, recipe.class_gain, recipe.distribution_gain

    def losses(model: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        device = next(model.parameters()).device
        objects = {name: torch.from_numpy(batch[name]).to(device) for name in ("image", "boxes", "masks")}
        total, terms = model(
            {
                "img": torch.from_numpy(batch["images"]).to(device).float() / 255,
                "batch_idx": objects["image"].float(),
                "cls": torch.zeros(len(objects["image"]), 1, device=device),
                "bboxes": objects["boxes"],
                "masks": objects["masks"],
            }
        )  # total: [terms], each times the images
        return {
            "loss": total.sum() / len(batch["images"]),
            **{ours: terms[theirs] for ours, theirs in TERMS.items()},
        }

    return losses
