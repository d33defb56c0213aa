"""Confidence intervals from a bootstrap over images.

Prompts of one image share its difficulty, so a replicate draws whole images with replacement, never single
prompts, and a mean is a ratio of two sums over the drawn images. The ends are percentiles of the replicates.
A data set of fewer than two images says nothing of how images differ: both ends are then NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from models.errors import BenchError

LEVEL = 0.95
"""The coverage aimed at."""
DRAWS_AT_ONCE = 1 << 22
"""Bounds memory, never the draws: 19,809 images of LVIS take 200 replicates at a time."""


class Interval(NamedTuple):
    """A number and the range in which another sample of images would put it."""

    value: float
    """On all images, not the mean of the replicates."""
    low: float
    """NaN where there is no interval: fewer than two images, or no replicates were asked for."""
    high: float
    n: int
    """How many prompts or detections the number rests on."""


def image_weights(images: int, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Draw how often each image counts in each replicate, uint16 [b, images], some replicates at a time.

    The draws depend on the number of images and the seed alone, so two models scored on the same images
    see the same replicates and their differences are paired. More replicates extend the same sequence.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, DRAWS_AT_ONCE // max(images, 1))
    for start in range(0, replicates, at_once):
        rows = min(at_once, replicates - start)
        drawn = (rng.random((rows, images)) * images).astype(np.int64)
        cells = drawn + images * np.arange(rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=rows * images)
        yield counts.reshape(rows, images).astype(np.uint16)


def percentile_interval(value: float, replicates: np.ndarray, n: int, *, images: int) -> Interval:
    """Return the percentile interval of replicates float [B].

    A replicate that is NaN (no object of that size was drawn) says nothing and is left out.
    """
    known = replicates[~np.isnan(replicates)]
    if images < 2 or not known.size:
        return Interval(value, float("nan"), float("nan"), n)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), n)


def centred_interval(value: float, replicates: np.ndarray, n: int, *, images: int) -> Interval:
    """Return the percentile interval of replicates float [B] moved so that their mean is the value.

    For a statistic whose replicates lie off to one side, as those of AP do: interpolated precision is the
    higher the fewer different detections there are, and a replicate has fewer. Simulated with 120 images and
    40 categories, the plain interval held the expected AP of as many images 85 % of the time, this one 95 %.
    """
    known = replicates[~np.isnan(replicates)]
    moved = known - known.mean() + value if known.size else known
    return percentile_interval(value, moved, n, images=images)


def mean_interval(values: np.ndarray, groups: np.ndarray, *, replicates: int = 1000, seed: int = 0) -> Interval:
    """Return the mean of values and its interval from a bootstrap over groups.

    Args:
        values: float [N], finite, one per prompt, for example IoU 0..1; a mean of none is NaN.
        groups: int [N], the image of each prompt.
        replicates: how many bootstrap samples; 0 asks for no interval.
        seed: two calls with the same seed and the same images draw the same images.

    Raises:
        BenchError: if lengths differ or a value is not finite.

    >>> mean_interval(np.array([0.0, 0.5, 1.0]), np.array([7, 7, 9])).value
    0.5
    """
    values, groups = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if values.ndim != 1 or values.shape != groups.shape:
        raise BenchError(
            f"a mean needs values [N] and groups [N], got {list(values.shape)} and {list(groups.shape)}: "
            "give the image of every value"
        )
    if not np.isfinite(values).all():
        place = int(np.argmin(np.isfinite(values)))
        raise BenchError(f"value {place} of {len(values)} is not finite: score that prompt or leave it out")
    if not values.size:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    names = np.unique(groups)
    sample = mean_draws(values, groups, names, replicates=replicates, seed=seed)
    return percentile_interval(float(values.mean()), sample, len(values), images=len(names))


def mean_draws(
    values: np.ndarray, groups: np.ndarray, among: np.ndarray, *, replicates: int = 1000, seed: int = 0
) -> np.ndarray:
    """Return the mean of values in each bootstrap sample of groups, float64 [B]; NaN where a sample has no value.

    Args:
        values: float [N].
        groups: int [N], the image of each value.
        among: int [G] ascending, all images that are drawn from, also those without a value.
        replicates: how many samples.
        seed: the same seed and as many images draw the same places of `among`.
    """
    member = np.searchsorted(among, groups)
    sums = np.bincount(member, weights=values, minlength=len(among))
    counts = np.bincount(member, minlength=len(among)).astype(np.float64)
    with np.errstate(invalid="ignore"):
        draws = [(w @ sums) / (w @ counts) for w in image_weights(len(among), replicates, seed)]
    return np.concatenate(draws) if draws else np.empty(0)


def paired_mean_interval(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, *, replicates: int = 1000, seed: int = 0
) -> Interval:
    """Return mean(first) - mean(second) over the same prompts, and its interval from a paired bootstrap.

    Args:
        first: float [N], one model's score of each prompt.
        second: float [N], another model's score of the same prompts in the same order.
        groups: int [N], the image of each prompt.
        replicates: how many bootstrap samples.
        seed: see `mean_interval`.

    Raises:
        BenchError: if lengths differ or a value is not finite.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape:
        raise BenchError(
            f"a paired difference needs the same prompts twice, got {list(first.shape)} and "
            f"{list(second.shape)} scores: keep the prompts both models answered"
        )
    interval = mean_interval(first - second, groups, replicates=replicates, seed=seed)
    return interval._replace(value=float(first.mean() - second.mean()) if first.size else interval.value)
