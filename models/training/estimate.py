"""What a pretraining will cost, before it is started: floating-point operations, counted, and the hours they take.

One image goes forward and backward under torch's counter of operations. On the meta device nothing is computed, so
the largest networks need neither memory nor weights. Matrix products, convolutions and attention are counted, a
multiplication and an addition as two; elementwise operations are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.sami.network import MaskedAutoencoder
from models.training.masked import masked_stage
from models.training.recipes import MaskedRecipe

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a pretraining."""

    steps: int
    """Optimiser steps."""
    epochs: float
    """Passes over the images."""
    samples: int
    """Images that the student sees."""
    parameters: int
    """Of the student, its decoder included."""
    student_flops_per_image: int
    """Forward and backward."""
    teacher_flops_per_image: int
    """Forward; 0 without a teacher."""
    teacher_images: int
    """Images that the teacher sees: fewer than the student where its features are cached."""
    total_flops: float
    """Of the whole run."""
    gpu_hours: float
    """Hours of one GPU at the throughput assumed, as if reading and communication cost nothing."""
    processes: int
    """GPUs."""
    hours: float
    """On all of them."""


def estimate(
    network: MaskedAutoencoder,
    recipe: MaskedRecipe,
    teacher: Callable[[Tensor], Tensor] | None = None,
    *,
    images: int,
    processes: int,
    tflops: float,
    cached_views: int | None = None,
) -> Estimate:
    """Count what a recipe costs.

    Args:
        network: the student, on the meta device or on the CPU.
        recipe: its steps and images a step.
        teacher: makes features [B, N, C] of pixels [B, 3, S, S]; on the same device as the student.
        images: in the data set.
        processes: GPUs that share the work.
        tflops: what one GPU is assumed to achieve, 1e12 operations a second.
        cached_views: crops of each image whose features are made once and kept; None asks the teacher every time.
    """
    samples = recipe.steps * recipe.images_per_step
    student_flops = _student_flops(network, recipe)
    teacher_flops = 0 if teacher is None else _teacher_flops(network, teacher)
    teacher_images = 0 if teacher is None else samples if cached_views is None else images * cached_views
    total = float(student_flops) * samples + float(teacher_flops) * teacher_images
    gpu_hours = total / (tflops * 1e12) / SECONDS_AN_HOUR
    return Estimate(
        steps=recipe.steps,
        epochs=samples / images,
        samples=samples,
        parameters=sum(p.numel() for p in network.parameters()),
        student_flops_per_image=student_flops,
        teacher_flops_per_image=teacher_flops,
        teacher_images=teacher_images,
        total_flops=total,
        gpu_hours=gpu_hours,
        processes=processes,
        hours=gpu_hours / processes,
    )


def _student_flops(network: MaskedAutoencoder, recipe: MaskedRecipe) -> int:
    """Return the operations of one image's forward and backward pass, its target being there already."""
    size, tokens, width = network.encoder.img_size, network.encoder.tokens, network.decoder_pred.out_features
    batch = {
        "images": np.zeros((1, 3, size, size), np.uint8),
        "features": np.zeros((1, tokens, width), np.float16),
    }
    stage = masked_stage(recipe, None)
    with _counting() as counter:
        stage(network, batch, torch.Generator().manual_seed(0))["loss"].backward()
    network.zero_grad(set_to_none=True)
    return counter.get_total_flops()


def _teacher_flops(network: MaskedAutoencoder, teacher: Callable[[Tensor], Tensor]) -> int:
    size, device = network.encoder.img_size, network.mask_token.device
    with torch.no_grad(), _counting() as counter:
        teacher(torch.zeros(1, 3, size, size, device=device))
    return counter.get_total_flops()


@contextmanager
def _counting() -> Iterator[FlopCounterMode]:
    """Count operations. Attention is done by plain products, since the counter does not know the CPU's kernel."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter
