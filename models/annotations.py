"""Masks as records that are written to files: COCO's compressed run lengths with a box, an area and scores.

Names, types and conventions are those of the records of `SamAutomaticMaskGenerator` (segment_anything 1.0) with
`output_mode="coco_rle"`, so that one can be read in place of the other.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import torch
from hotcoco import mask as coco_masks
from pycocotools import mask as coco_rle
from torch import Tensor

from models.segmenter import Embedding, Prompts, Segmenter, Upscaler

STABILITY_OFFSET = 1.0
"""How far from its threshold a logit's pixel is safe, as published."""


class Rle(TypedDict):
    """A mask as COCO's compressed run lengths."""

    size: list[int]
    """[height, width], px."""
    counts: str


class Annotation(TypedDict):
    """One mask."""

    segmentation: Rle
    area: int
    """px."""
    bbox: list[int]
    """xywh, px; from the first pixel to the last, so that one pixel is 0 wide, as published (COCO's are 1 wider)."""
    predicted_iou: float | None
    """The model's own estimate; None if it has none."""
    point_coords: list[list[float]]
    """The point that was asked about, (x, y) in px of the image; of a box or of several clicks, those."""
    stability_score: float | None
    """See `stability_scores`; None if the model does not show what its masks are made of."""
    crop_box: list[int]
    """Part of the image that the model saw, xywh, px."""


def encode(mask: np.ndarray, size: tuple[int, int] | None = None, corner: tuple[int, int] = (0, 0)) -> Rle:
    """Encode a mask bool [h, w] that lies in an image of (height, width) `size` with its upper left at (x, y).

    >>> encode(np.eye(2, dtype=bool))
    {'size': [2, 2], 'counts': '0120'}
    """
    height, width = mask.shape
    if size is not None and size != mask.shape:
        whole = np.zeros(size, dtype=bool, order="F")
        whole[corner[1] : corner[1] + height, corner[0] : corner[0] + width] = mask
        mask = whole
    return encode_all(mask[None])[0]


def encode_all(masks: np.ndarray) -> list[Rle]:
    """Encode masks bool [N, H, W] at once; fastest where they lie in memory column by column.

    >>> encode_all(np.eye(2, dtype=bool)[None])
    [{'size': [2, 2], 'counts': '0120'}]
    """
    if not len(masks):
        return []
    found: Any = coco_masks.encode(np.asfortranarray(masks.transpose(1, 2, 0)).view(np.uint8))
    return [{"size": list(one["size"]), "counts": one["counts"].decode("ascii")} for one in found]


def decode(rle: Rle) -> np.ndarray:
    """Return the mask bool [H, W]."""
    return np.asarray(coco_rle.decode(rle)).astype(bool)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Return the first and last column and row of masks bool [N, H, W] as xyxy int64 [N, 4]; zeros for empty ones."""
    columns, rows = (np.asarray(masks.any(axis)) for axis in (1, 2))
    height, width = masks.shape[1:]
    boxes = [columns.argmax(1), rows.argmax(1)]
    boxes += [width - 1 - columns[:, ::-1].argmax(1), height - 1 - rows[:, ::-1].argmax(1)]
    return np.stack(boxes, 1) * np.asarray(columns.any(1))[:, None]  # type: ignore[no-any-return]


def xywh(box_xyxy: np.ndarray) -> list[int]:
    """Return a box int [4] as it stands in records."""
    x0, y0, x1, y1 = (int(value) for value in box_xyxy)
    return [x0, y0, x1 - x0, y1 - y0]


def stability_scores(upscaled: Tensor, offset: float = STABILITY_OFFSET) -> Tensor:
    """Return how little masks [...] change with their threshold: pixels over 0 + offset per pixel over 0 - offset.

    Args:
        upscaled: logits float [..., H, W] at the image's size.
        offset: in logits.

    Returns:
        float32 [...] in 0..1, NaN where no logit is over -offset.
    """
    inner, outer = (torch.count_nonzero(upscaled > one, dim=(-2, -1)) for one in (offset, -offset))
    return inner / outer  # type: ignore[no-any-return]


def annotation(mask: np.ndarray) -> Annotation:
    """Describe a mask bool [H, W] about which nothing else is known."""
    (box,) = boxes_of(mask[None])
    return {
        "segmentation": encode(mask),
        "area": int(np.count_nonzero(mask)),
        "bbox": xywh(box),
        "predicted_iou": None,
        "point_coords": [],
        "stability_score": None,
        "crop_box": [0, 0, mask.shape[1], mask.shape[0]],
    }


def answer(segmenter: Segmenter, embedding: Embedding, prompts: Prompts) -> list[Annotation]:
    """Answer prompts about one image with one mask each: of three candidates that of the highest predicted IoU.

    Raises:
        BenchError: for prompts that the model does not take.
    """
    logits, predicted_iou = segmenter.segment(embedding, prompts)
    predicted_iou = predicted_iou.float().cpu()
    found: list[Annotation] = []
    for row, column in enumerate(predicted_iou.argmax(1).tolist()):
        chosen = logits[row : row + 1, column : column + 1]
        one = annotation(segmenter.masks(chosen, embedding.size)[0, 0].cpu().numpy())
        one["predicted_iou"] = float(predicted_iou[row, column])
        one["point_coords"] = prompts.points[row].tolist()
        if isinstance(segmenter, Upscaler):
            with torch.inference_mode():
                upscaled = segmenter.upscale(chosen, embedding.size)
            one["stability_score"] = stability_scores(upscaled).item()
        found.append(one)
    return found
