"""EdgeSAM's clicks: the first near the middle of the mask, the others anywhere in what the last answer got wrong.

As its evaluator places them (chongzhou96/EdgeSAM b53372c, evaluation/eval_mIoU.py 323-326, 399-409 and
edge_sam/utils/common.py 106-166, 240-250), with draws of our own, keyed by annotation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import distance_transform_cdt

from bench.data import tight_box_xyxy
from bench.draws import Draws
from models.segmenter import BACKGROUND, FOREGROUND, NO_CLICK
from protocols.prompts.frame import Frame
from protocols.prompts.random_clicks import deepest

SOFTNESS = 0.35
"""h of kornia's distance transform, its default."""


class Errors(NamedTuple):
    """What an answer got wrong, at pixels of the image or at cells of the frame."""

    missed: np.ndarray
    """bool [h, w], false negatives."""
    extra: np.ndarray
    """bool [h, w], false positives."""


def pixel_errors(truth: np.ndarray, prediction: np.ndarray) -> Errors:
    """Return the wrong pixels of an answer bool [H, W]."""
    return Errors(truth & ~prediction, prediction & ~truth)


def cell_errors(truth: np.ndarray, prediction: np.ndarray, frame: Frame) -> Errors:
    """Return the wrong cells of a low-resolution answer.

    A cell on the border of the image, with but some of its four central pixels inside, can be extra and not missed.

    Args:
        truth: bool [h, w], the mask in the frame.
        prediction: bool [n, n], logits above 0 at the cells of the whole square.
        frame: of the image.
    """
    there, inside = frame.cells(truth, len(prediction)), frame.inside(len(prediction))
    return Errors(there & ~prediction & (inside == 1), prediction & ~there & (inside > 0))


def error_click(
    errors: Errors, *, smallest: int, seed: int, position: int, annotation_id: int
) -> tuple[np.ndarray, int]:
    """Return a uniform random place (x, y) of the error, missed and extra together, and its label, 1 or 0.

    Args:
        errors: of the last answer.
        smallest: fewer wrong places than that, or none, give no click: (0, 0), label -2.
        seed: of the run.
        position: number of the click in its sequence.
        annotation_id: of the mask.
    """
    places = np.flatnonzero(errors.missed | errors.extra)
    if len(places) < max(1, smallest):
        return np.zeros(2, np.float32), NO_CLICK
    y, x = divmod(
        int(places[draw(len(places), seed=seed, position=position, annotation_id=annotation_id)]),
        errors.missed.shape[1],
    )
    return np.array([x, y], np.float32), FOREGROUND if errors.missed[y, x] else BACKGROUND


def draw(count: int, *, seed: int, position: int, annotation_id: int) -> int:
    """Draw one of `count` places; no draw of `random_clicks` is this one."""
    return int(Draws(seed, 2**31 + position, annotation_id).uniform() * count)


def approximate_middle(mask: np.ndarray) -> np.ndarray:
    """Return the pixel (x, y) float32 [2] of a mask bool [h, w] that is deepest by `approximate_depth`.

    Of equals it is the first in row order; of an empty mask, (0, 0).
    """
    if not mask.any():
        return np.zeros(2, np.float32)
    x0, y0, x1, y1 = tight_box_xyxy(mask).astype(int)
    return deepest(approximate_depth(mask[y0:y1, x0:x1])) + np.array([x0, y0], np.float32)


def approximate_depth(mask: np.ndarray) -> np.ndarray:
    """Return kornia's approximate distance to the outside of a mask bool [h, w], float32 px; 0 outside.

    `kornia.contrib.distance_transform` (0.7.1, kernel 3) lets the outside grow by a ring of eight neighbours at a
    time, after Pham et al. 2021, arXiv:2106.03503: a pixel of ring k, counting from 0, is k - h log(sum of
    exp(-d / h)) deep, over its neighbours at distance d (1 or sqrt 2) that the growth reached before. A ring is
    what has the same chessboard distance to the outside, so one pass is enough. The sum is float32 in row order, as
    a convolution has it, since its last bit decides which pixels are equals.
    """
    rings = distance_transform_cdt(np.pad(mask, 1), metric="chessboard")
    ring, (height, width) = rings[1:-1, 1:-1], mask.shape
    weights = torch.exp(torch.tensor([1.0, 2.0]).sqrt() / -SOFTNESS).numpy()
    total = np.zeros(mask.shape, np.float32)
    for down in (0, 1, 2):
        for right in (0, 1, 2):
            if (down, right) != (1, 1):
                reached = rings[down : down + height, right : right + width] < ring
                total += reached * weights[int(down != 1 and right != 1)]
    partial = -SOFTNESS * torch.log(torch.from_numpy(np.where(mask, total, np.float32(1))))
    return np.where(mask, (ring - 1).astype(np.float32) + partial.numpy(), np.float32(0))  # type: ignore[no-any-return]
