"""What a training will cost, before it is started: floating-point operations, counted, and the hours they take.

One image goes forward and backward under torch's counter of operations. On the meta device nothing is computed, so
the largest networks need neither memory nor weights. Matrix products, convolutions and attention are counted, a
multiplication and an addition as two; elementwise operations are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.training.loop import Stage
from models.training.recipes import Recipe

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Estimate:
    """Cost of a training."""

    steps: int
    """Optimiser steps."""
    epochs: float
    """Passes over the images."""
    samples: int
    """Images that the student sees."""
    parameters: int
    """Of the network that is trained, in pretraining with its decoder."""
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
    network: nn.Module,
    recipe: Recipe,
    student_flops: int,
    teacher_flops: int = 0,
    *,
    images: int,
    processes: int,
    tflops: float,
    cached_views: int | None = None,
) -> Estimate:
    """Return what a recipe costs.

    Args:
        network: the student.
        recipe: its steps and images a step.
        student_flops: of one image, see `student_flops`.
        teacher_flops: of one image, see `teacher_flops`.
        images: in the data set.
        processes: GPUs that share the work.
        tflops: what one GPU is assumed to achieve, 1e12 operations a second.
        cached_views: crops of each image whose features are made once and kept; None asks the teacher every time.
    """
    samples = recipe.steps * recipe.images_per_step
    teacher_images = 0 if not teacher_flops else samples if cached_views is None else images * cached_views
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


def student_flops(trainer: nn.Module, stage: Stage, batch: Any) -> int:
    """Return the operations of one image's forward and backward pass.

    Args:
        trainer: the module that is trained.
        stage: its losses.
        batch: of images, whatever they show.
    """
    with _counting() as counter:
        stage(trainer, batch, torch.Generator().manual_seed(0))["loss"].backward()
    trainer.zero_grad(set_to_none=True)
    return counter.get_total_flops() // len(batch["images"])


def teacher_flops(teacher: Callable[[Tensor], Tensor], size: int, device: str | torch.device = "meta") -> int:
    """Return the operations of a teacher's forward pass on one image [1, 3, size, size]."""
    with torch.no_grad(), _counting() as counter:
        teacher(torch.zeros(1, 3, size, size, device=device))
    return counter.get_total_flops()


@contextmanager
def _counting() -> Iterator[FlopCounterMode]:
    """Count operations. Attention is done by plain products, since the counter does not know the CPU's kernel."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        yield counter
