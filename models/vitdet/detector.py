"""A ViTDet asked about photos of any size: resized and padded as it was trained, answers in the photo's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from models.preprocessing import normalise
from models.vitdet.network import VitDet
from models.vitdet.pooling import paste


class Found(NamedTuple):
    """Detections of one photo, the best first."""

    boxes_xyxy: np.ndarray
    """float64 [P, 4] px of the photo."""
    scores: np.ndarray
    """float64 [P] in 0..1."""
    labels: np.ndarray
    """int64 [P] from 1 on."""
    masks: np.ndarray
    """bool [P, H, W]."""


@torch.inference_mode()
def detect(network: VitDet, photos: Sequence[np.ndarray], *, device: str | torch.device = "cpu") -> list[Found]:
    """Find the objects of photos uint8 [H, W, 3] RGB of any sizes.

    The longer side becomes the network's input size (Pillow bilinear), the rest is padding (detectron2's ViTDet).

    Raises:
        BenchError: if a logit is NaN or infinite.
    """
    network.eval().to(device)
    side = network.img_size
    pixels, sizes = zip(*(_to_input(photo, side) for photo in photos), strict=True)
    answers = network(torch.stack(pixels).to(device), sizes=list(sizes))
    return [_found(one, photo, size) for one, photo, size in zip(answers, photos, sizes, strict=True)]


def input_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the (height, width) of a photo whose longer side becomes `side`, px.

    The shorter side is scaled to `side` first, as detectron2 does it: what is half a pixel but for rounding goes the
    same way then.

    >>> input_size(480, 640, 1024)
    (768, 1024)
    """
    longer = side / min(height, width) * max(height, width)
    shorter = max(1, int(side * (side / longer) + 0.5))
    return (shorter, side) if height < width else (side, shorter)


def _to_input(photo: np.ndarray, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Return pixels [3, side, side], zero where there is no photo, and its (height, width) there."""
    height, width = photo.shape[:2]
    new = input_size(height, width, side)
    image = Image.fromarray(photo)
    resized = photo if new == (height, width) else np.asarray(image.resize(new[::-1], Image.Resampling.BILINEAR))
    pixels = normalise(np.ascontiguousarray(resized.transpose(2, 0, 1))[None], torch.device("cpu"))[0]
    return F.pad(pixels, (0, side - new[1], 0, side - new[0])), new


def _found(answer: dict[str, Tensor], photo: np.ndarray, size: tuple[int, int]) -> Found:
    height, width = photo.shape[:2]
    stretch = answer["boxes"].new_tensor([width / size[1], height / size[0]]).repeat(2)
    boxes = answer["boxes"] * stretch
    return Found(
        boxes.double().cpu().numpy(),
        answer["scores"].double().cpu().numpy(),
        answer["labels"].cpu().numpy(),
        paste(answer["masks"], boxes, (height, width)),
    )
