"""Replicates of average precision over resampled images, without matching a mask again.

Matching is local to an image, so an image drawn three times is its matches counted three times. Images are
matched once; each replicate is then a re-accumulation in which every detection has its image's weight.
The result is that of evaluating a data set in which the copies of an image follow one another; tests hold it
to pycocotools and lvis on such data sets. Where detections of one image and category tie in score, all
copies of the first come before those of the second.
"""

from __future__ import annotations

import gc
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import hotcoco
import numpy as np

from bench.metrics.ap_averages import Average, Rules
from bench.metrics.ap_truth import Truth
from bench.metrics.interval import image_weights

THRESHOLDS = 10
RECALLS = np.linspace(0.0, 1.0, 101)
FALSE, TRUE, IGNORED = 0, 1, 2
IMAGES_AT_ONCE = 250
"""The engine hands matches over as Python lists: bounds their memory."""
NUMBERS_AT_ONCE = 1 << 18
"""Weights of detections held at once: 2 MB an array stays in the CPU's cache."""


@dataclass(frozen=True, slots=True)
class Cell:
    """All matches of one category in one size class, best score first, ties in order of images."""

    category: int
    """Place on the axis K."""
    area: int
    """Place on the axis A."""
    image: np.ndarray
    """int64 [D], place of each detection's image."""
    state: np.ndarray
    """uint8 [T, D]: FALSE, TRUE or IGNORED."""
    objects: np.ndarray
    """int64 [O], place of the image of each object that counts."""


def bootstrap_averages(
    truth: Truth, detections: hotcoco.COCO, rules: Rules, *, replicates: int, seed: int, compared: str = "segm"
) -> dict[str, np.ndarray]:
    """Return replicates of every AP*, float64 [B] each, NaN where a replicate has no object of its kind.

    `compared` is what has an IoU, "segm" (masks) or "bbox".
    """
    if not replicates or not truth.image_ids:
        return {average.key: np.empty(0) for average in rules.averages}
    weights = np.concatenate(list(image_weights(len(truth.image_ids), replicates, seed)))
    return replicate_averages(
        cells(truth, detections, lvis=rules.lvis, compared=compared), weights, rules, truth.frequencies
    )


def replicate_averages(
    matched: Iterable[Cell], weights: np.ndarray, rules: Rules, frequencies: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return every AP* for given image weights.

    Args:
        matched: from `cells`; each is looked at once.
        weights: whole numbers [B, I], how often each image counts in each replicate.
        rules: which averages.
        frequencies: LVIS, r, c or f of every category.

    Returns:
        float64 [B] for each average.
    """
    by_image = np.ascontiguousarray(weights.T, dtype=np.float64)  # [I, B], so that a detection is a row
    sums = {average.key: np.zeros(len(weights)) for average in rules.averages}
    known = {average.key: np.zeros(len(weights)) for average in rules.averages}
    for cell in matched:
        wanted = [average for average in rules.averages if _concerns(average, cell, frequencies)]
        if not wanted:
            continue
        objects = by_image[cell.objects].sum(axis=0)  # [B], whole numbers
        precision = _average_precision(cell, by_image, objects)  # [T, B]
        for average in wanted:
            rows = precision if average.threshold is None else precision[average.threshold, None]
            sums[average.key] += np.where(objects > 0, rows.mean(axis=0), 0.0)
            known[average.key] += objects > 0
    with np.errstate(invalid="ignore"):
        return {key: sums[key] / known[key] for key in sums}


def _concerns(average: Average, cell: Cell, frequencies: tuple[str, ...]) -> bool:
    frequency = frequencies[cell.category] if frequencies else ""
    return average.area == cell.area and average.frequency in ("", frequency)


def _average_precision(cell: Cell, by_image: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the mean over recalls of a cell's precision, float64 [T, B]; of no meaning without objects."""
    precision = np.zeros((THRESHOLDS, by_image.shape[1]))
    step = max(1, NUMBERS_AT_ONCE // max(len(cell.image), 1))
    for start in range(0, by_image.shape[1], step):
        part = slice(start, start + step)
        weights = by_image[cell.image, part]  # [D, b]
        kept, ranked = np.zeros(0, dtype=bool), np.empty(0)
        for t, state in enumerate(cell.state):
            if not np.array_equal(kept, state != IGNORED):
                kept = state != IGNORED
                ranked = np.cumsum(weights[kept], axis=0)  # [kept, b] detections so far
            true = state[kept] == TRUE
            found = np.cumsum(weights[kept][true], axis=0)  # [true, b] objects so far
            precision[t, part] = _area_under_curve(found, ranked[true], objects[part])
    return precision


def _area_under_curve(found: np.ndarray, ranked: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Return the mean over 101 recalls of the interpolated precision.

    Only true detections matter: a false one lowers precision, and interpolation takes the best that follows.
    Likewise of the copies of a true one, the last has the best precision and stands for all.

    Args:
        found: float64 [P, B], objects found up to each true detection.
        ranked: float64 [P, B], detections up to it.
        objects: float64 [B].
    """
    if not len(found):
        return np.zeros(len(objects))
    # The same tiny addend as in pycocotools: a perfect first detection has precision 1 - 2.2e-16.
    precision = found / (ranked + np.spacing(1))
    best_from_here = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = _recalls_reached(found / np.maximum(objects, 1))
    steps = np.diff(reached, axis=0, prepend=0)  # the recalls that each true detection is the first to reach
    mean: np.ndarray = np.einsum("pb,pb->b", best_from_here, steps) / len(RECALLS)
    return mean


def _recalls_reached(recall: np.ndarray) -> np.ndarray:
    """Return how many of the 101 recalls are at most `recall`, as floats: a search, but without searching."""
    nearest = np.rint(recall * (len(RECALLS) - 1))
    reached: np.ndarray = nearest + (RECALLS[nearest.astype(np.intp)] <= recall)
    return reached


@dataclass(slots=True)
class _Pool:
    """Matches of one category and size class as they come, one entry for each image that has any."""

    image: list[int] = field(default_factory=list)
    """Place of the image, ascending."""
    objects: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    """How many detections."""
    scores: list[bytes] = field(default_factory=list)
    """float64 [size]; bytes, because arrays this small are mostly their own overhead."""
    matched: list[bytes] = field(default_factory=list)
    """uint8 [T, size]."""
    ignored: list[bytes] = field(default_factory=list)
    """uint8 [T, size]."""

    def add(self, image: int, entry: dict[str, Any]) -> None:
        """Take an entry of the engine's `eval_imgs`."""
        self.image.append(image)
        self.objects.append(len(entry["gtIgnore"]) - sum(entry["gtIgnore"]))
        self.size.append(len(entry["dtScores"]))
        self.scores.append(array("d", entry["dtScores"]).tobytes())
        self.matched.append(b"".join(map(bytes, entry["dtMatched"])))
        self.ignored.append(b"".join(map(bytes, entry["dtIgnore"])))


def cells(truth: Truth, detections: hotcoco.COCO, *, lvis: bool, compared: str = "segm") -> Iterator[Cell]:
    """Match every image once, pool the matches by category and size class, and yield one pool after the other."""
    categories = {identity: place for place, identity in enumerate(truth.category_ids)}
    images = {identity: place for place, identity in enumerate(truth.image_ids)}
    pools: defaultdict[tuple[int, int], _Pool] = defaultdict(_Pool)
    for start in range(0, len(truth.image_ids), IMAGES_AT_ONCE):
        evaluator = hotcoco.COCOeval(truth.dataset, detections, compared, lvis_style=lvis)
        evaluator.params.img_ids = list(truth.image_ids[start : start + IMAGES_AT_ONCE])
        areas = [tuple(bounds) for bounds in evaluator.params.area_rng]
        evaluator.evaluate()
        with _uncollected():
            entries = [one for one in evaluator.eval_imgs if one is not None]
            for entry in sorted(entries, key=lambda one: one["image_id"]):
                pool = pools[categories[entry["category_id"]], areas.index(tuple(entry["aRng"]))]
                pool.add(images[entry["image_id"]], entry)
            del entries
    for key in sorted(pools):
        yield _cell(*key, pools.pop(key))


@contextmanager
def _uncollected() -> Iterator[None]:
    """Hold off the garbage collector, which takes ten times as long over millions of lists as making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _cell(category: int, area: int, pool: _Pool) -> Cell:
    scores = np.frombuffer(b"".join(pool.scores))
    order = np.argsort(-scores, kind="stable")
    size = np.array(pool.size)
    width = np.repeat(size, size)[order]  # [D] detections of the same image
    start = np.repeat(np.cumsum(size) - size, size)[order]  # [D] the first of them
    place = THRESHOLDS * start + (order - start) + np.arange(THRESHOLDS)[:, None] * width  # [T, D]
    matched = np.frombuffer(b"".join(pool.matched), dtype=np.uint8)[place]
    ignored = np.frombuffer(b"".join(pool.ignored), dtype=np.uint8)[place]
    return Cell(
        category=category,
        area=area,
        image=np.repeat(pool.image, size)[order],
        state=np.where(ignored, np.uint8(IGNORED), matched),
        objects=np.repeat(pool.image, pool.objects),
    )
