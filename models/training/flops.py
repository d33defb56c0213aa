"""The floating-point operations of a training, counted before it is started.

One image goes forward and backward under torch's counter of operations. On the meta device nothing is computed, so
the largest networks need neither memory nor weights. Matrix products, convolutions and attention are counted, a
multiplication and an addition as two; elementwise operations are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.training.loop import Stage


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
