"""Ask a Mask2Former what each pixel shows, and count what it gets right, class by class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from models.errors import BenchError
from models.mask2former.config import IGNORED, Mask2FormerSizes


@torch.inference_mode()
def predict(network: nn.Module, photo: np.ndarray) -> np.ndarray:
    """Return the class of each pixel of a photo uint8 [H, W, 3], uint8 [H, W].

    The photo is resized (Pillow bilinear) so that its shorter side is the network's `test_shorter_side`, and its
    longer one at most `test_longer_side`; logits are resized back before the likeliest class is taken.

    Raises:
        BenchError: if a logit is NaN or infinite.
    """
    from mmseg.structures import SegDataSample

    model: Any = network.eval()
    height, width = photo.shape[:2]
    resized = np.asarray(
        Image.fromarray(photo).resize(resized_size(model.sizes, width, height), Image.Resampling.BILINEAR)
    )
    pixels = torch.from_numpy(resized.copy()).permute(2, 0, 1)
    sample = SegDataSample(metainfo={"img_shape": resized.shape[:2], "ori_shape": (height, width)})
    data = model.data_preprocessor({"inputs": [pixels], "data_samples": [sample]}, False)
    (answer,) = model(**data, mode="predict")
    if not torch.isfinite(answer.seg_logits.data).all():
        raise BenchError("its logits have NaN or infinite values: its weights are damaged, or its training diverged")
    return answer.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)  # type: ignore[no-any-return]


def resized_size(sizes: Mask2FormerSizes, width: int, height: int) -> tuple[int, int]:
    """Return the (width, height) a photo is resized to, proportions kept."""
    factor = min(sizes.test_shorter_side / min(width, height), sizes.test_longer_side / max(width, height))
    return round(width * factor), round(height * factor)


def areas(predicted: np.ndarray, truth: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the areas of intersection and union of each class, int64 [classes] px, as mmsegmentation counts them.

    Args:
        predicted: uint8 [H, W].
        truth: uint8 [H, W], 255 where nothing is known: such pixels count nowhere, whatever is predicted there.
        classes: number of classes.
    """
    from mmseg.evaluation.metrics import IoUMetric

    maps = (torch.from_numpy(map.astype(np.int64)) for map in (predicted, truth))
    intersection, union, _, _ = IoUMetric.intersect_and_union(*maps, classes, IGNORED)
    return intersection.numpy().astype(np.int64), union.numpy().astype(np.int64)
