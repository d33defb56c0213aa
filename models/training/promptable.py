"""The `promptable` stage: finetuning on masks with box and click prompts (section 4.1, SA-1B finetuning)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.preprocessing import normalise
from models.training.losses import best_of_candidates_loss
from models.training.prompts import noisy_boxes, random_clicks
from models.training.recipes import PromptableRecipe


def promptable_stage(
    recipe: PromptableRecipe,
) -> Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]:
    """Return the losses of a batch {"images": uint8 [B, 3, S, S], "masks": bool [B, P, S, S]}.

    The P masks of an image are dealt out to the recipe's kinds of prompt, `masks_per_prompt` each.
    """

    def losses(network: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        device = next(network.parameters()).device
        masks = torch.from_numpy(batch["masks"]).to(device)
        single = float(torch.rand((), generator=generator)) < recipe.single_mask_share
        prompts = [
            Question(*draw_prompts(kind, count, group, generator), not single or (kind, count) == ("click", 1))
            for (kind, count), group in zip(recipe.prompts, masks.split(recipe.masks_per_prompt, dim=1), strict=True)
        ]
        answers = network(normalise(batch["images"], device), prompts)
        side = answers[0][0].shape[-1]
        coverage = F.adaptive_avg_pool2d(masks.float(), side)  # [B, P, h, w]
        terms = [
            best_of_candidates_loss(logits.float(), iou.float(), target)
            for (logits, iou), target in zip(answers, coverage.split(recipe.masks_per_prompt, dim=1), strict=True)
        ]
        mean = {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}
        by_kind = {
            f"iou_{count}{kind}": term["best_iou"] for (kind, count), term in zip(recipe.prompts, terms, strict=True)
        }
        return {"loss": mean["mask"] + recipe.iou_weight * mean["iou"], **mean, **by_kind}

    return losses


def draw_prompts(kind: str, count: int, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw one prompt for each mask bool [B, P, S, S]: points [B, P, K, 2] in px and labels [B, P, K]."""
    return noisy_boxes(masks, generator) if kind == "box" else random_clicks(masks, count, generator)


class Question(NamedTuple):
    """One group of prompts about a batch of images."""

    points: Tensor
    """[B, P, K, 2] px."""
    labels: Tensor
    """[B, P, K]."""
    multimask: bool
    """Three candidates, or the single-mask token."""


class PromptableTrainer(nn.Module):
    """A network's encode and decode as one forward pass, which is what distributed wrappers can see."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, questions: list[Question]) -> list[tuple[Tensor, Tensor]]:
        """Answer several groups of prompts about the same images."""
        network: Any = self.network
        features = network.encode(pixels)
        return [network.decode(features, q.points, q.labels, multimask=q.multimask) for q in questions]


def pretrained_parameters(trainer: nn.Module) -> set[int]:
    """Return the ids of the parameters that a pretrained encoder brings: those of the image encoder but its neck."""
    named = trainer.named_parameters()
    return {id(p) for name, p in named if ".image_encoder." in f".{name}" and ".neck." not in f".{name}"}
