"""Optimisers and learning rates of a recipe: which parameters decay, which are slower, and the rate at each step."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from models.training.classify import layer_decay_groups
from models.training.detect import detector_groups
from models.training.promptable import pretrained_parameters
from models.training.recipes import ClassifyRecipe, DetectRecipe, PromptableRecipe, Recipe

POLY_POWER = 0.9
"""Of the schedule "poly" (mmsegmentation)."""


def optimizers_of(network: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """Return AdamW and, where the recipe wants it, Muon for the weights of linear layers.

    Unless the recipe says otherwise, matrices decay; norms, biases and embeddings of one dimension do not.
    """
    if isinstance(recipe, DetectRecipe) and recipe.decayed != "matrices":
        return [AdamW(detector_groups(network, recipe), betas=recipe.betas)]
    if isinstance(recipe, ClassifyRecipe) and recipe.muon_learning_rate is None:
        return [AdamW(layer_decay_groups(network, recipe), betas=recipe.betas)]
    linear = {id(m.weight) for m in network.modules() if isinstance(m, nn.Linear)}
    of_muon = linear if recipe.muon_learning_rate is not None else set()
    decay, rate = recipe.weight_decay, recipe.learning_rate
    adamw, muon = [], []
    for multiplier, trained in _by_rate(network, recipe).items():
        matrices = [p for p in trained if p.ndim >= 2 and id(p) not in of_muon]
        vectors = [p for p in trained if p.ndim < 2]
        adamw += [
            {"params": matrices, "lr": multiplier * rate, "weight_decay": decay},
            {"params": vectors, "lr": multiplier * rate, "weight_decay": 0.0},
        ]
        if recipe.muon_learning_rate is not None:
            linear_layers = [p for p in trained if id(p) in of_muon]
            muon.append({"params": linear_layers, "lr": multiplier * recipe.muon_learning_rate})
    optimizers: list[Optimizer] = [AdamW(adamw, lr=rate, betas=recipe.betas)]
    if recipe.muon_learning_rate is not None:
        optimizers.append(Muon(muon, lr=recipe.muon_learning_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    return optimizers


def _by_rate(network: nn.Module, recipe: Recipe) -> dict[float, list[nn.Parameter]]:
    """Return what is trained by the multiplier of its learning rate, those of the full rate first."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not isinstance(recipe, PromptableRecipe) or recipe.encoder_multiplier == 1.0:
        return {1.0: trained}
    slow = pretrained_parameters(network)
    return {
        1.0: [parameter for parameter in trained if id(parameter) not in slow],
        recipe.encoder_multiplier: [parameter for parameter in trained if id(parameter) in slow],
    }


def rate_at(step: int, recipe: Recipe) -> float:
    """Return the learning rate of a step as a share of the peak."""
    if step < recipe.warmup_steps:
        return (step + recipe.warmup_ahead) / recipe.warmup_steps
    left = 1 - (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    if recipe.schedule == "poly":
        return left**POLY_POWER
    return left if recipe.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))
