"""FastSAM's masks from what its network says, as its authors' predictor makes them (commit b4ed20c).

Boxes near the border snap to it *before* they crop the masks. `ultralytics`' own FastSAM crops first, so that what an
object shows between its box and the border is lost there, and its way of enlarging masks changes with its version.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BORDER = 20
"""A side of a box nearer than this to the border of the network's input lies on it, px."""
WHOLE = 0.9
"""A box whose IoU with the whole input is larger becomes the whole input."""
_PIXELS_AT_ONCE = 1 << 24
"""Most pixels of logits held at the image's size: 64 MiB in float32."""


def snapped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return boxes [N, 4] xyxy whose sides near the border lie on it, and almost whole ones as whole.

    The published code fails where several boxes are almost whole; here each becomes whole.

    Args:
        boxes: float [N, 4] xyxy, px of the network's input.
        size: (height, width) of that input, its grey margins included, px.
    """
    height, width = size
    whole = boxes.new_tensor([0, 0, width, height])
    start, end = boxes[:, :2], boxes[:, 2:]
    boxes = torch.cat(
        [start.where(start >= BORDER, whole[:2]), end.where(end <= whole[2:] - BORDER, whole[2:])],
        dim=1,
    )
    # Sides beyond the input are on its border now; a box that lies elsewhere altogether has no area.
    intersection = (boxes[:, 2:].minimum(whole[2:]) - boxes[:, :2].maximum(whole[:2])).clamp(min=0).prod(1)
    union = width * height + (boxes[:, 2:] - boxes[:, :2]).prod(1) - intersection
    return torch.where((intersection / union > WHOLE)[:, None], whole, boxes)


def in_image(boxes: Tensor, seen: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return boxes [N, 4] of the network's input of (height, width) `seen` in px of the image, clipped to it."""
    gain = min(seen[0] / size[0], seen[1] / size[1])
    left, top = (round((seen[axis] - size[axis] * gain) / 2 - 0.1) for axis in (1, 0))
    scaled = (boxes - boxes.new_tensor([left, top, left, top])) / gain
    return scaled.clamp(min=0).minimum(boxes.new_tensor([size[1], size[0]] * 2))


def masks_of(boxes: Tensor, coefficients: Tensor, prototypes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return masks bool [N, H, W]: sums of prototypes, without the margins, enlarged, cut to their boxes.

    Args:
        boxes: float [N, 4] xyxy, px of the image.
        coefficients: float [N, C].
        prototypes: [C, h, w] of the network's input with its margins.
        size: (H, W) of the image, px.
    """
    logits = (coefficients @ prototypes.float().flatten(1)).unflatten(1, prototypes.shape[1:])  # [N, h, w]
    gain = min(prototypes.shape[1] / size[0], prototypes.shape[2] / size[1])
    rows, columns = (_inside(logits.shape[axis + 1], size[axis] * gain) for axis in (0, 1))
    logits = logits[:, rows, columns]
    masks = torch.empty((len(logits), *size), dtype=torch.bool, device=logits.device)
    at_once = max(1, _PIXELS_AT_ONCE // (size[0] * size[1]))
    for first in range(0, len(logits), at_once):
        part = slice(first, first + at_once)
        large = F.interpolate(logits[None, part], size, mode="bilinear", align_corners=False)[0]
        masks[part] = (large > 0) & _filled(boxes[part], size)
    return masks


def _inside(length: int, used: float) -> slice:
    """Return the part of an axis of prototypes that shows the image, which takes up `used` of `length`."""
    margin = (length - used) / 2
    return slice(int(margin), int(length - margin))


def _filled(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return bool [N, H, W], True from the first to before the last side of each box."""
    y, x = (torch.arange(length, device=boxes.device, dtype=boxes.dtype) for length in size)
    x1, y1, x2, y2 = boxes.T[..., None]  # [N, 1] each
    return ((y >= y1) & (y < y2))[:, :, None] & ((x >= x1) & (x < x2))[:, None]
