"""Clicks on a ground-truth mask: random ones keyed by annotation, and the two interactive policies."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from bench.draws import Draws


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


def farthest_from_edge(region: np.ndarray) -> np.ndarray:
    """Return the pixel (x, y) float32 [2] deepest inside a region bool [H, W]; the first in row order on ties.

    The image's border counts as an edge.
    """
    depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(depth)), region.shape)
    return np.array([x, y], dtype=np.float32)


def ritm_click(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the next click of Sofiiuk et al. (2021): the deepest pixel of false negatives or false positives.

    Args:
        truth: bool [H, W].
        prediction: bool [H, W], empty before the first click.

    Returns:
        The pixel (x, y) and its label: 1 where an object pixel was missed, 0 where background was taken.
    """
    missed, extra = truth & ~prediction, prediction & ~truth
    depth = [distance_transform_edt(np.pad(region, 1)).max() for region in (missed, extra)]
    positive = bool(depth[0] >= depth[1])
    region = missed if positive else extra
    return farthest_from_edge(region if region.any() else truth), int(positive)


def error_click(
    truth: np.ndarray, prediction: np.ndarray, *, seed: int, position: int, annotation_id: int
) -> tuple[np.ndarray, int]:
    """Return a uniform random pixel of the error, false negatives and false positives together (EdgeSAM).

    Args:
        truth: bool [H, W].
        prediction: bool [H, W].
        seed: of the run.
        position: number of the click in its sequence.
        annotation_id: of the mask.

    Returns:
        The pixel (x, y) and its label, 1 or 0; where nothing is wrong, a pixel of the mask.
    """
    error = truth ^ prediction
    region = error if error.any() else truth
    point = random_clicks(region, 1, seed=seed, repeat=2**31 + position, annotation_id=annotation_id)[0]
    return point, int(truth[int(point[1]), int(point[0])])
