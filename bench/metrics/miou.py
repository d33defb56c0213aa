"""Mean IoU over classes, as scene parsing counts it: areas summed over all images before they are divided.

A bootstrap draws whole images, so an interval needs each image's areas of intersection and union by class. It is a
little narrow where classes are rare, since a few images decide about them.
"""

from __future__ import annotations

import numpy as np

from bench.metrics.interval import Interval, image_weights, percentile_interval
from models.errors import BenchError


def class_iou(intersections: np.ndarray, unions: np.ndarray) -> np.ndarray:
    """Return the IoU of each class, float64 [..., C]; NaN for a class that is neither there nor predicted.

    Args:
        intersections: [..., C] pixels, summed over images.
        unions: [..., C] pixels.
    """
    inter, union = np.asarray(intersections, np.float64), np.asarray(unions, np.float64)
    return np.divide(inter, union, out=np.full(inter.shape, np.nan), where=union > 0)


def mean_iou(intersections: np.ndarray, unions: np.ndarray) -> np.ndarray:
    """Return the mean of `class_iou` over the classes that have one, float64 [...]; NaN where none has.

    >>> float(mean_iou(np.array([2, 0, 0]), np.array([4, 3, 0])))
    0.25
    """
    iou = class_iou(intersections, unions)
    known = ~np.isnan(iou)
    count = known.sum(-1)
    total = np.where(known, iou, 0).sum(-1)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def mean_iou_interval(
    intersections: np.ndarray, unions: np.ndarray, *, replicates: int = 1000, seed: int = 0
) -> Interval:
    """Return mean IoU and its 95 % interval from a bootstrap over images; n is the number of images.

    Args:
        intersections: [N, C] pixels of each image where class c is rightly predicted.
        unions: [N, C] pixels of each image that are of class c or predicted as such.
        replicates: how many bootstrap samples.
        seed: two calls with the same seed and number of images draw the same images.

    Raises:
        BenchError: if shapes differ, or an intersection is larger than its union.
    """
    inter, union = _checked(intersections, unions)
    sample = _replicates(inter, union, replicates, seed)
    return percentile_interval(float(mean_iou(inter.sum(0), union.sum(0))), sample, len(inter), images=len(inter))


def mean_iou_draws(
    intersections: np.ndarray, unions: np.ndarray, *, replicates: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return mean IoU on each bootstrap sample of the images, float64 [replicates]; see `mean_iou_interval`."""
    return _replicates(*_checked(intersections, unions), replicates, seed)


def paired_mean_iou_interval(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the first's mean IoU minus the second's over the same images, with the paired interval.

    Args:
        first: (intersections, unions) [N, C] of one model.
        second: those of another model on the same images in the same order.
        replicates: how many bootstrap samples.
        seed: see `mean_iou_interval`.

    Raises:
        BenchError: if the two are about different numbers of images or classes.
    """
    one, other = _checked(*first), _checked(*second)
    if one[0].shape != other[0].shape:
        raise BenchError(
            f"a paired difference needs the same images and classes twice, got {list(one[0].shape)} and "
            f"{list(other[0].shape)}: keep the images both models were asked about"
        )
    sample = _replicates(*one, replicates, seed) - _replicates(*other, replicates, seed)
    value = float(mean_iou(one[0].sum(0), one[1].sum(0)) - mean_iou(other[0].sum(0), other[1].sum(0)))
    return percentile_interval(value, sample, len(one[0]), images=len(one[0]))


def _checked(intersections: np.ndarray, unions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inter, union = np.asarray(intersections, np.float64), np.asarray(unions, np.float64)
    if inter.ndim != 2 or inter.shape != union.shape or (inter > union).any() or (inter < 0).any():
        raise BenchError(
            f"mean IoU needs intersections [N, C] within unions [N, C], got {list(inter.shape)} and "
            f"{list(union.shape)}: count both over the same pixels"
        )
    return inter, union


def _replicates(inter: np.ndarray, union: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Return the mean IoU of each bootstrap sample, float64 [replicates]."""
    draws = [
        mean_iou(weights @ inter, weights @ union)
        for weights in (w.astype(np.float64) for w in image_weights(len(inter), replicates, seed))
    ]
    return np.concatenate(draws) if draws else np.empty(0)
