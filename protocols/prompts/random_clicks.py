"""Clicks on a ground-truth mask: random ones keyed by annotation, and RITM's in the larger error."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import distance_transform_edt

from bench.data import tight_box_xyxy
from bench.draws import Draws
from models.segmenter import BACKGROUND, FOREGROUND


def random_clicks(mask: np.ndarray, count: int, *, seed: int, repeat: int, annotation_id: int) -> np.ndarray:
    """Return uniform random pixels of a mask, float32 [count, 2] (x, y), with replacement.

    They depend on (seed, repeat, annotation id) alone: neither the order of images, nor sharding, nor the set
    of models changes them; and the first clicks of a longer sequence are the shorter one.

    Args:
        mask: bool [H, W], not empty.
        count: number of clicks.
        seed: of the run.
        repeat: number of the draw.
        annotation_id: of the mask.
    """
    pixels = np.flatnonzero(mask)
    chosen = pixels[(Draws(seed, repeat, annotation_id).uniforms(count) * len(pixels)).astype(np.int64)]
    return np.stack([chosen % mask.shape[1], chosen // mask.shape[1]], axis=1).astype(np.float32)


def edge_distance(region: np.ndarray) -> np.ndarray:
    """Return each pixel's exact distance to the outside of a region bool [H, W], float32 px; 0 outside.

    The image's border counts as an edge. float32 is what OpenCV computes, and decides which pixels are equals.
    """
    depth = np.zeros(region.shape, np.float32)
    if region.any():
        x0, y0, x1, y1 = tight_box_xyxy(region).astype(int)  # no pixel is nearer to anything beyond its tight box
        depth[y0:y1, x0:x1] = distance_transform_edt(np.pad(region[y0:y1, x0:x1], 1))[1:-1, 1:-1]
    return depth


def deepest(depth: np.ndarray) -> np.ndarray:
    """Return the place (x, y) float32 [2] of the largest value [H, W], the first in row order of equals."""
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return np.array([x, y], dtype=np.float32)


def farthest_from_edge(region: np.ndarray) -> np.ndarray:
    """Return the pixel (x, y) float32 [2] deepest inside a region bool [H, W]; the first in row order on ties."""
    return deepest(edge_distance(region))


def ritm_click(
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    tie: Literal["object", "background"] = "object",
    clicked: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Return the next click of Sofiiuk et al. (2021): the deepest pixel of false negatives or false positives.

    Args:
        truth: bool [H, W].
        prediction: bool [H, W], empty before the first click.
        tie: see `Axes.tie`.
        clicked: int64 [K, 2] (x, y), pixels that are not clicked again while any other is wrong.

    Returns:
        The pixel (x, y) and its label: 1 where an object pixel was missed, 0 where background was taken. If nothing
        is wrong, a click on the mask's middle (tie "object") or on the image's first pixel (label 0).
    """
    missed, extra = (edge_distance(region) for region in (truth & ~prediction, prediction & ~truth))
    if clicked is not None:
        missed[clicked[:, 1], clicked[:, 0]] = extra[clicked[:, 1], clicked[:, 0]] = 0
    if tie == "object" and not missed.any() and not extra.any():
        return farthest_from_edge(truth), FOREGROUND
    positive = missed.max() > extra.max() or (tie == "object" and missed.max() == extra.max())
    return deepest(missed if positive else extra), FOREGROUND if positive else BACKGROUND
