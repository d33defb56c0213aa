"""The `classify` stage: finetuning on labelled photos (section 4.1, ImageNet-1K finetuning)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.data.mixup import Mixup, mixup_target
from timm.optim import param_groups_layer_decay, param_groups_weight_decay  # type: ignore[attr-defined]
from torch import Tensor, nn

from models.errors import BenchError
from models.preprocessing import normalise
from models.training.recipes import ClassifyRecipe


def classify_stage(
    recipe: ClassifyRecipe, classes: int
) -> Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]:
    """Return the loss of a batch {"images": [B, 3, S, S], "labels": int64 [B]}.

    Images are uint8, or float32 and normalised already (an augmentation that ends in random erasing). Adds "top1"
    where images are not mixed: of a mixed image there is no right answer.

    Args:
        recipe: mixing, label smoothing and stochastic depth.
        classes: number of classes.
    """
    mixes = recipe.mixup > 0 or recipe.cutmix > 0
    mixer = Mixup(recipe.mixup, recipe.cutmix, label_smoothing=recipe.label_smoothing, num_classes=classes)

    def losses(network: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        device = next(network.parameters()).device
        pixels, labels = _pixels(batch["images"], device), torch.from_numpy(batch["labels"]).to(device)
        if mixes:
            pixels, targets = _mixed(mixer, pixels, labels, generator)
        else:
            targets = mixup_target(labels, classes, smoothing=recipe.label_smoothing)
        with torch_seeded_by(generator, device) if recipe.drop_path else nullcontext():
            logits = network(pixels).float()  # [B, classes]
        result = {"loss": F.cross_entropy(logits, targets)}
        return result if mixes else {**result, "top1": (logits.argmax(1) == labels).float().mean()}

    return losses


def layer_decay_groups(network: nn.Module, recipe: ClassifyRecipe) -> list[dict[str, Any]]:
    """Return AdamW's parameter groups: a block learns slower than the next one, by the recipe's `layer_decay`.

    Each group has its own peak "lr". Positions, the class token, norms and biases do not decay (BEiT, MAE).

    Args:
        network: a ViT of timm.
        recipe: learning rate, weight decay, layer decay; without layer decay all learn at the same rate.
    """
    fixed = network.no_weight_decay()  # type: ignore[operator]
    if recipe.layer_decay is None:
        groups = param_groups_weight_decay(network, recipe.weight_decay, no_weight_decay_list=fixed)
    else:
        groups = param_groups_layer_decay(
            network, recipe.weight_decay, no_weight_decay_list=fixed, layer_decay=recipe.layer_decay
        )
    return [
        {
            "params": group["params"],
            "weight_decay": group["weight_decay"],
            "lr": recipe.learning_rate * group.get("lr_scale", 1.0),
        }
        for group in groups
    ]


def _pixels(images: np.ndarray, device: torch.device) -> Tensor:
    """Return network input [B, 3, S, S] that is not the batch's own memory, since mixing writes into it."""
    if images.dtype == np.uint8:
        return normalise(images, device)
    return torch.from_numpy(images).to(device, copy=True)


def _mixed(mixer: Mixup, pixels: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mix each image with the one at the same distance from the other end; targets [B, classes].

    Raises:
        BenchError: if the number of images is odd.
    """
    if len(pixels) % 2:
        raise BenchError(f"mixup and cutmix need an even number of images, a micro-batch has {len(pixels)}: change it")
    with _numpy_seeded_by(generator):
        mixed: tuple[Tensor, Tensor] = mixer(pixels, labels)
    return mixed


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (), generator=generator))


@contextmanager
def _numpy_seeded_by(generator: torch.Generator) -> Iterator[None]:
    """Let numpy's global generator, the one timm mixes with, follow the step's for a while."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(_seed(generator))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextmanager
def torch_seeded_by(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Let torch's global generators, which stochastic depth draws from, follow the step's for a while."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_seed(generator))
        yield
