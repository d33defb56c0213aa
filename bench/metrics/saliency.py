"""How good a saliency map is: S-measure, F-measure against the threshold, mean absolute error.

The definitions are those of PySODMetrics 1.6.2 (lartpang/PySODMetrics), without its stretching of each map to 0..1.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.interval import Interval, image_weights, percentile_interval
from models.errors import BenchError

BETA_SQUARED = 0.3
"""Weight of precision in the F-measure (Achanta et al. 2009)."""
ALPHA = 0.5
"""Weight of the object-aware part of the S-measure (Fan et al. 2017)."""
THRESHOLDS = 256
EPS = np.spacing(1.0)


def mean_absolute_error(saliency: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean absolute difference of a map uint8 [H, W] (0..255) and a mask bool [H, W], 0..1.

    Raises:
        BenchError: if types or shapes are others.

    >>> mean_absolute_error(np.array([[255, 51]], np.uint8), np.array([[True, False]]))
    0.1
    """
    probability = _probability(saliency, truth)
    return float(np.abs(probability - truth).mean())


def f_curve(saliency: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the F-measure of the pixels at or above each threshold 0, 1, ..., 255, float64 [256].

    Args:
        saliency: uint8 [H, W], 0..255.
        truth: bool [H, W]; where it is empty every F-measure is 0.

    Raises:
        BenchError: if types or shapes are others.
    """
    _check(saliency, truth)
    inside, outside = (np.bincount(saliency[part], minlength=THRESHOLDS) for part in (truth, ~truth))
    right, wrong = (np.cumsum(counts[::-1])[::-1] for counts in (inside, outside))  # pixels at or above a threshold
    precision = right / np.maximum(right + wrong, 1)
    recall = right / max(int(truth.sum()), 1)
    below = BETA_SQUARED * precision + recall
    return np.divide((1 + BETA_SQUARED) * precision * recall, below, out=np.zeros(THRESHOLDS), where=below > 0)


def max_f_interval(curves: np.ndarray, groups: np.ndarray, *, replicates: int = 1000, seed: int = 0) -> Interval:
    """Return the largest value of the mean F-measure curve, and its interval from a bootstrap over images.

    The threshold is chosen anew in each replicate, as it is chosen for the whole set.

    Args:
        curves: float [N, 256], see `f_curve`.
        groups: int [N], the image of each curve.
        replicates: how many bootstrap samples.
        seed: two calls with the same seed and images draw the same images.
    """
    if not len(curves):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    draws, images = _mean_curves(curves, groups, replicates, seed)
    return percentile_interval(float(curves.mean(0).max()), draws.max(1), len(curves), images=images)


def paired_max_f_interval(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, *, replicates: int = 1000, seed: int = 0
) -> Interval:
    """Return the first's `max_f_interval` value minus the second's, on the same images, with the paired interval."""
    if not len(first):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    (one, images), (other, _) = (_mean_curves(curves, groups, replicates, seed) for curves in (first, second))
    value = float(first.mean(0).max() - second.mean(0).max())
    return percentile_interval(value, one.max(1) - other.max(1), len(first), images=images)


def s_measure(saliency: np.ndarray, truth: np.ndarray) -> float:
    """Return how alike the structures of a map and a mask are, 0..1 (Fan et al. 2017).

    Args:
        saliency: uint8 [H, W], 0..255.
        truth: bool [H, W].

    Raises:
        BenchError: if types or shapes are others.
    """
    probability = _probability(saliency, truth)
    share = float(truth.mean())
    if share in (0.0, 1.0):
        return float(probability.mean() if share else 1 - probability.mean())
    alike = ALPHA * _object_aware(probability, truth, share) + (1 - ALPHA) * _region_aware(probability, truth)
    return max(0.0, alike)


def _object_aware(probability: np.ndarray, truth: np.ndarray, share: float) -> float:
    return share * _uniformly_high(probability[truth]) + (1 - share) * _uniformly_high(1 - probability[~truth])


def _uniformly_high(values: np.ndarray) -> float:
    """Return 1 where all values [N] are 1, less the lower and the more unequal they are."""
    mean, deviation = values.mean(), values.std(ddof=1) if values.size > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + deviation + EPS))


def _region_aware(probability: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity of the four parts around the mask's centre, weighted by their area."""
    row, column = (int(place) + 1 for place in np.argwhere(truth).mean(0).round())  # MATLAB counts from 1
    parts = [
        (slice(rows[0], rows[1]), slice(columns[0], columns[1]))
        for rows in ((0, row), (row, None))
        for columns in ((0, column), (column, None))
    ]
    return sum(probability[part].size / truth.size * _ssim(probability[part], truth[part]) for part in parts)


def _ssim(probability: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity of two regions [h, w], 1 where both are black; an empty region counts 0."""
    if not probability.size:
        return 0.0
    x, y, pixels = probability.mean(), truth.mean(), probability.size - 1 + EPS
    off_x, off_y = probability - x, truth - y
    spread = ((off_x**2).sum() + (off_y**2).sum()) / pixels
    together = 4 * x * y * ((off_x * off_y).sum() / pixels)
    apart = (x**2 + y**2) * spread
    if together != 0:
        return float(together / (apart + EPS))
    return 1.0 if apart == 0 else 0.0


def _mean_curves(curves: np.ndarray, groups: np.ndarray, replicates: int, seed: int) -> tuple[np.ndarray, int]:
    """Return the mean curve of each bootstrap sample, float64 [replicates, 256], and how many images there are."""
    names, member = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), curves.shape[1]))
    np.add.at(sums, member, curves)
    counts = np.bincount(member).astype(np.float64)
    draws = [(w @ sums) / (w @ counts)[:, None] for w in image_weights(len(names), replicates, seed)]
    return np.concatenate(draws), len(names)


def _probability(saliency: np.ndarray, truth: np.ndarray) -> np.ndarray:
    _check(saliency, truth)
    return saliency / 255.0


def _check(saliency: np.ndarray, truth: np.ndarray) -> None:
    if saliency.dtype != np.uint8 or truth.dtype != np.bool_ or saliency.ndim != 2 or saliency.shape != truth.shape:
        raise BenchError(
            f"a saliency map is scored as uint8 [H, W] against a mask bool [H, W], got {saliency.dtype} "
            f"{list(saliency.shape)} and {truth.dtype} {list(truth.shape)}"
        )
