"""Work in blocks that stay in a CPU's caches: softmax attention with SAM's relative positions, prompts, upscaling.

torch's fused kernel wants a bias written out in full, 64 MiB a head for a photo at 1024 px, and on a CPU without matrix
units it is no faster in bfloat16 than in float32. Products of a block of queries with all keys need neither.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from models.parallel import in_parallel, parts, workers_on

BLOCK = 1 << 20
"""Scores held at once (4 MiB in float32)."""
WORTH_IT = 1 << 22
"""Fewest scores in all for which blocks beat one fused call."""


def blocks_pay(q: Tensor) -> bool:
    """Say whether attention of queries [G, N, d] to as many keys is faster block by block: on a CPU, in inference."""
    scores = q.shape[0] * q.shape[1] * q.shape[1]
    return q.device.type == "cpu" and not _whole() and scores >= WORTH_IT


def attention_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, rows: Tensor | None = None, columns: Tensor | None = None
) -> Tensor:
    """Return softmax(q k^T / sqrt(d) + bias) v as [G, N, d].

    Args:
        q: queries [G, N, d]; G counts heads and windows.
        k: keys [G, N, d].
        v: values [G, N, d].
        rows: bias of a query for each row of keys, [G, N, height]; with `columns`, keys lie row by row.
        columns: bias of a query for each column of keys, [G, N, width].
    """
    groups, count, width = q.shape
    queries = min(count, max(1, BLOCK // count))
    together = max(1, BLOCK // (queries * count))
    scaled, keys, values = (q * width**-0.5).contiguous(), k.contiguous().mT, v.contiguous()
    mixed = torch.empty_like(values)

    def attend(block: tuple[slice, slice]) -> None:
        group, some = block
        scores = torch.bmm(scaled[group, some], keys[group])  # [g, n, N]
        if rows is not None and columns is not None:
            grid = scores.unflatten(2, (rows.shape[2], columns.shape[2]))
            grid += rows[group, some, :, None]
            grid += columns[group, some, None, :]
        mixed[group, some] = torch.bmm(scores.softmax(-1), values[group])

    blocks = itertools.product(_slices(groups, together), _slices(count, queries))
    in_parallel(attend, list(blocks), workers_on(q.device))
    return mixed


def _slices(count: int, step: int) -> list[slice]:
    return [slice(start, start + step) for start in range(0, count, step)]


def prompts_at_once(image: Tensor, prompts: int, workers: int) -> list[slice]:
    """Say which prompts about images [B, 1 or P, N, C] to decode together: all where gradients or a GPU want that.

    On a CPU two prompts at 1024 px are fastest: more lose their features from the caches between two operations.

    Args:
        image: features of the images.
        prompts: P.
        workers: how many of the parts are decoded side by side (`models.parallel`).
    """
    if _whole():
        return [slice(0, prompts)]
    patches = CPU_PATCHES if image.device.type == "cpu" else GPU_PATCHES
    most, least = (number // (image.shape[0] * image.shape[2]) for number in (patches, WORKER_PATCHES))
    return parts(prompts, workers, most=most, least=least)


CPU_PATCHES, GPU_PATCHES = 1 << 13, 1 << 17
"""Patches, one set a prompt, that a decoder holds at once."""
WORKER_PATCHES = 1 << 10
"""Patches that are worth a worker of their own: fewer take about as long as it takes to start one."""
UPSCALED_AT_ONCE = 1 << 10
"""Patches of a prompt that a decoder upscales at once on a CPU, sixteen pixels each."""


def pieces(patches: Tensor) -> tuple[Tensor, ...]:
    """Cut patches [G, n, ...] where each is upscaled by itself into pieces that stay in a CPU's caches."""
    if _whole() or patches.device.type != "cpu":
        return (patches,)
    return patches.split(UPSCALED_AT_ONCE, 1)


def _whole() -> bool:
    """Whether nothing is cut: gradients are wanted, or a graph for any number of prompts is being exported."""
    return torch.is_grad_enabled() or torch.compiler.is_exporting()
