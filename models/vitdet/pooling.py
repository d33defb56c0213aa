"""Geometry of boxes and masks without a half-pixel shift: pooling, mask targets, and masks pasted into the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

CANONICAL_PX, CANONICAL_LEVEL = 224, 4
"""A box of 224 x 224 px is pooled from p4 (Lin et al. 2017, equation 1)."""
POOLED_LEVELS = ("p2", "p3", "p4", "p5")


class BoxPool(nn.Module):
    """Pool each box from the level of its size: RoIAlign on pixel squares (`aligned`), as detectron2 has it.

    torchvision's MultiScaleRoIAlign is the same without `aligned`, half a cell off.

    Args:
        side: of the pooled map, cells.
        canonical_px: side of the box that is pooled from p4, px.
    """

    def __init__(self, side: int, *, canonical_px: int = CANONICAL_PX) -> None:
        super().__init__()
        self.side = side
        self._level_of = LevelMapper(2, 5, canonical_px, CANONICAL_LEVEL, eps=1e-8)

    def forward(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Pool boxes [N_b, 4] (xyxy, px) of each image b, [sum N_b, C, side, side]."""
        rois = torch.cat([_numbered(image, one) for image, one in enumerate(boxes)])  # [N, 5]
        levels = self._level_of(list(boxes))
        first = features[POOLED_LEVELS[0]]
        pooled = rois.new_zeros(len(rois), first.shape[1], self.side, self.side)
        for level, name in enumerate(POOLED_LEVELS):
            chosen = torch.where(levels == level)[0]
            maps = features[name].to(rois)  # boxes keep their precision, in mixed precision too
            cells = roi_align(maps, rois[chosen], self.side, 2.0 ** -(level + 2), -1, aligned=True)
            pooled = pooled.index_put((chosen,), cells)
        return pooled


def _numbered(image: int, boxes: Tensor) -> Tensor:
    return torch.cat([boxes.new_full((len(boxes), 1), image), boxes], 1)


def mask_targets(masks: Tensor, objects: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Cut what a mask head should say out of the ground truth, float [P, side, side] of zeros and ones.

    Args:
        masks: bool [N, S, S] of an image.
        objects: int64 [P], which of them.
        boxes: [P, 4] xyxy, px, where to cut.
        side: cells.
    """
    rois = torch.cat([objects[:, None].to(boxes), boxes], 1)
    return (roi_align(masks[:, None].to(boxes), rois, side, 1.0, -1, aligned=True)[:, 0] >= 0.5).to(boxes)


def paste(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Put masks into the image: a pixel belongs to a mask if the probability interpolated at its centre is >= 0.5.

    Args:
        probabilities: [P, m, m] of each box.
        boxes: [P, 4] xyxy, px of the image.
        size: (height, width) of the image.

    Returns:
        bool [P, height, width].
    """
    height, width = size
    pasted = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    for index, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        left, top = max(int(x1), 0), max(int(y1), 0)
        right, bottom = min(int(np.ceil(x2)), width), min(int(np.ceil(y2)), height)
        if left >= right or top >= bottom:
            continue
        x = (torch.arange(left, right, device=boxes.device) + 0.5 - x1) / (x2 - x1) * 2 - 1
        y = (torch.arange(top, bottom, device=boxes.device) + 0.5 - y1) / (y2 - y1) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)[None]  # [1, h, w, 2]
        inside = F.grid_sample(probabilities[index][None, None].float(), grid.float(), align_corners=False)[0, 0]
        pasted[index, top:bottom, left:right] = inside >= 0.5
    return pasted.cpu().numpy()  # type: ignore[no-any-return]
