"""The `distill` stage: decoupled distillation of an image encoder (Zhang et al. 2023, MobileSAM, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.preprocessing import normalise


def distill_stage(teacher: nn.Module) -> Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]:
    """Return the squared error between the student's image embedding and the teacher's on a batch of images.

    The mask decoder is not touched: the student takes the teacher's over as it is. The teacher follows the student to
    its device.
    """
    teacher.eval().requires_grad_(False)

    def losses(student: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        pixels = normalise(batch["images"], next(student.parameters()).device)
        with torch.no_grad():
            target = teacher.to(pixels.device).encode(pixels)  # type: ignore[operator]
        return {"loss": F.mse_loss(student(pixels).float(), target.float())}

    return losses


class EncoderTrainer(nn.Module):
    """An image encoder as the module that is trained."""

    def __init__(self, image_encoder: nn.Module) -> None:
        super().__init__()
        self.image_encoder = image_encoder

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode [B, 3, S, S] as [B, C, h, h]."""
        return self.image_encoder(pixels)  # type: ignore[no-any-return]
