"""The `fast` engine: the exact engine's operations in bfloat16 where that is faster, normalisation in float32.

A CPU needs instructions for it: one without takes up to four times as long as in float32, and stays in float32. On
one without matrix units torch's fused attention gains nothing in bfloat16, two products a block of queries do.
Answers are near the exact ones, not equal: `bench engines` says how near, and none is compared with a paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.attention import attention_in_blocks, blocks_pay
from models.efficientsam.encoder import SelfAttention
from models.efficientsam.segmenter import EfficientSamSegmenter
from models.sam.image_encoder import WindowAttention
from models.sam.segmenter import SamSegmenter
from models.segmenter import Embedding, Multimask, Prompts, Segmentation

SHORT = 512
"""Keys of a window: with fewer, products in bfloat16 lose more than they gain on a CPU."""


def gains(device: torch.device | str) -> bool:
    """Whether a device may be faster in bfloat16: GPUs, and CPUs with AVX-512 BF16, AMX or Arm's BF16."""
    if torch.device(device).type != "cpu":
        return True
    return any("bf16" in name and has is True for name, has in torch.cpu.get_capabilities().items())


class HalfSelfAttention(SelfAttention):
    """EfficientSAM's, block by block."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Mix tokens [B, N, C]."""
        qkv = self.qkv(tokens).unflatten(-1, (3, self.heads, -1))  # [B, N, 3, heads, d]
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()  # [B, heads, N, d] each
        if not blocks_pay(q.flatten(0, 1)):
            return super().forward(tokens)
        with torch.autocast(q.device.type, enabled=False):  # it would widen the scores before their softmax
            mixed = attention_in_blocks(*(x.flatten(0, 1) for x in (q, k, v))).unflatten(0, q.shape[:2])
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class HalfWindowAttention(WindowAttention):
    """SAM's; small windows attend in float32."""

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if q.device.type == "cpu" and q.shape[2] < SHORT:
            q, k, v = q.float(), k.float(), v.float()
            with torch.autocast("cpu", enabled=False):
                return super()._attend(q, k, v)
        return super()._attend(q, k, v)


class _Half:
    """A segmenter that computes in bfloat16 and answers in float32."""

    device: Any

    def embed(self, images: Sequence[np.ndarray]) -> list[Embedding]:
        """Encode images, uint8 [H, W, 3] RGB each."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return super().embed(images)  # type: ignore[misc, no-any-return]

    def segment(self, embedding: Embedding, prompts: Prompts, *, multimask: Multimask = True) -> Segmentation:
        """Answer all prompts about one image."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            logits, predicted_iou = super().segment(embedding, prompts, multimask=multimask)  # type: ignore[misc]
        return Segmentation(logits.float(), predicted_iou.float())


class HalfSamSegmenter(_Half, SamSegmenter):
    """SAM's."""


class HalfEfficientSamSegmenter(_Half, EfficientSamSegmenter):
    """EfficientSAM's."""


STAND_INS: Mapping[type, type] = {
    SelfAttention: HalfSelfAttention,
    WindowAttention: HalfWindowAttention,
    SamSegmenter: HalfSamSegmenter,
    EfficientSamSegmenter: HalfEfficientSamSegmenter,
}
"""What stands in for the exact engine's classes."""
