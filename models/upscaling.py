"""Mask logits at an image's size, by small matrix products: bilinear and bicubic resizing are linear and separable.

torch's kernels on a CPU compute each output pixel from its taps one by one. Here the taps of an axis are a banded
matrix, taken from torch's own kernel so that they are the same to the bit, and only the parts that are not zero are
multiplied. Several resizes and crops in a row are one matrix. Logits differ from torch's by rounding alone.

Masks lie in memory column by column, the order in which COCO's run lengths count.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from models.parallel import in_parallel, parts, workers_on

Mode = Literal["bilinear", "bicubic"]
_ROWS = 64
"""Output rows in a product: fewer multiply less by zero, more call less."""
_LOGITS_AT_ONCE = 1 << 22
"""Most pixels of upscaled logits held at once (16 MiB): what the CPU's caches do not lose between two products."""

_WORKER_LOGITS = 1 << 19
"""Pixels of upscaled logits that are worth a worker of their own."""


class Resize(NamedTuple):
    """One step along one axis."""

    kept: int
    """How many entries of the input count, the first ones: a crop."""
    size: int
    """Entries afterwards."""


class Band(NamedTuple):
    """Some neighbouring output rows of an axis and the input rows that they are made of."""

    first: int
    """Number of the first output row."""
    low: int
    high: int
    """Input rows [low, high)."""
    weight: Tensor
    """[rows, high - low]."""


@functools.lru_cache(maxsize=64)
def axis(length: int, steps: tuple[Resize, ...], mode: Mode) -> tuple[Band, ...]:
    """Return what makes an axis of `length` entries into that after some resizes, as bands of one matrix.

    >>> [band.weight.tolist() for band in axis(2, (Resize(2, 4),), "bilinear")]
    [[[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]]
    """
    matrix = torch.eye(length, dtype=torch.float64)
    for kept, size in steps:
        one = F.interpolate(torch.eye(kept)[None, :, None], (1, size), mode=mode, align_corners=False)
        matrix = one[0, :, 0].double().T @ matrix[:kept]  # [size, length]
    bands = []
    step = max(8, min(_ROWS, _ROWS * len(matrix) // length))  # a band of a smaller axis would be wide
    for first in range(0, len(matrix), step):
        rows = matrix[first : first + step]
        used = torch.nonzero(rows.abs().amax(0)).flatten()
        low, high = int(used[0]), int(used[-1]) + 1
        bands.append(Band(first, low, high, rows[:, low:high].float().contiguous()))
    return tuple(bands)


@torch.autocast("cpu", enabled=False)
def upscaled_masks(logits: Tensor, rows: Sequence[Band], columns: Sequence[Band], *, ties: bool) -> Tensor:
    """Return masks bool [N, H, W], column by column in memory, of float32 logits [N, h, w] on a CPU, in full precision.

    Args:
        logits: at low resolution.
        rows: of the axis from h to H.
        columns: of the axis from w to W.
        ties: whether a logit of 0 belongs to the mask.
    """
    height, width = (axis[-1].first + len(axis[-1].weight) for axis in (rows, columns))
    masks = torch.empty(len(logits), width, height, dtype=torch.bool)
    compare = torch.ge if ties else torch.gt

    def fill(part: slice) -> None:
        tall = torch.cat([band.weight @ logits[part, band.low : band.high] for band in rows], 1).mT  # [n, w, H]
        for band in columns:
            out = masks[part, band.first : band.first + len(band.weight)]
            compare(band.weight @ tall[:, band.low : band.high], 0, out=out)

    workers = workers_on(logits.device)
    most, least = (pixels // (height * width) for pixels in (_LOGITS_AT_ONCE, _WORKER_LOGITS))
    in_parallel(fill, parts(len(logits), workers, most=most, least=least), workers)
    return masks.mT
