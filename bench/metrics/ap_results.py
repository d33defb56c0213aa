"""Results as average precision needs them: checked, and reduced to the four fields of a mask result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from bench.metrics.ap_truth import Truth
from bench.metrics.rle import rle_totals
from models.errors import BenchError

ResultDict = dict[str, Any]
RESULT_KEYS = {"image_id", "category_id", "segmentation", "score"}
LVIS_MAX_DETS = 300
"""Detections of an image that count, over all classes together: lvis 0.5.3, results.py."""


@dataclass(frozen=True, slots=True)
class Results:
    """Detections as the engine takes them: the four fields of a mask result and nothing else."""

    detections: list[ResultDict]
    dropped_boxes: int
    """How many came with a box, from which their size class would have been taken."""


def clean_results(results: Sequence[ResultDict], truth: Truth, *, lvis: bool) -> Results:
    """Check results and reduce them to what the engine may see, in their order.

    Boxes are dropped and counted: with a box, an evaluator takes the area, and so S/M/L, from the box.
    LVIS: the 300 best of an image are kept, and then those of no area are left out, both as lvis 0.5.3 does.

    Raises:
        BenchError: naming the first result that is wrong and how.
    """
    columns = _columns(results, truth)
    areas = _areas(results)
    keep = np.isin(columns.image_ids, truth.image_ids)
    if lvis:
        keep &= _within_cap(columns.image_ids, columns.scores, LVIS_MAX_DETS) & (areas > 0)
    # Evaluators pass over detections of unknown categories; those of LVIS have taken their place under the cap.
    keep &= np.isin(columns.category_ids, truth.category_ids)
    detections = [_four_fields(results[i]) for i in np.flatnonzero(keep).tolist()]
    return Results(detections, sum("bbox" in result for result in results))


BOX_KEYS = ("image_id", "category_id", "bbox", "score")


def clean_boxes(results: Sequence[ResultDict], truth: Truth) -> Results:
    """Check box results and reduce them to the four fields of a box result, in their order.

    Raises:
        BenchError: naming the first result that is wrong and how.
    """
    category_ids, asked = set(truth.category_ids), set(truth.image_ids)
    detections: list[ResultDict] = []
    for i, result in enumerate(results):
        try:
            image_id, category_id, box, score = (result[key] for key in BOX_KEYS)
            numbers = [float(number) for number in (*box, score)]
        except (KeyError, TypeError, ValueError) as error:
            raise BenchError(
                f"result {i} is not a box detection ({error!r}): it needs image_id, category_id, score and bbox "
                "[x, y, width, height]"
            ) from error
        if len(numbers) != 5 or not all(map(math.isfinite, numbers)) or min(numbers[2:4]) < 0:
            raise BenchError(
                f"result {i} has bbox {box!r} and score {score!r}: give finite numbers, sides of at least 0"
            )
        if image_id not in truth.sizes:
            raise BenchError(f"result {i} is of image {image_id!r}, which {truth.path} lacks: match the splits")
        if image_id in asked and category_id in category_ids:  # pycocotools passes over unknown categories, too
            fields = (int(image_id), int(category_id), numbers[:4], numbers[4])
            detections.append(dict(zip(BOX_KEYS, fields, strict=True)))
    return Results(detections, 0)


@dataclass(frozen=True, slots=True)
class _Columns:
    image_ids: np.ndarray
    """int64 [D]."""
    category_ids: np.ndarray
    """int64 [D]."""
    scores: np.ndarray
    """float64 [D]."""


def _columns(results: Sequence[ResultDict], truth: Truth) -> _Columns:
    """Check images, categories, scores and mask sizes."""
    image_ids = np.empty(len(results), dtype=np.int64)
    category_ids = np.empty(len(results), dtype=np.int64)
    scores = np.empty(len(results))
    for i, result in enumerate(results):
        try:
            image_id, category_id, score = result["image_id"], result["category_id"], result["score"]
            size, known = tuple(result["segmentation"]["size"]), truth.sizes.get(image_id)
        except (KeyError, TypeError) as error:
            raise BenchError(
                f"result {i} is not a mask detection ({error!r}): it needs image_id, category_id, score "
                "and segmentation {size, counts}"
            ) from error
        if size != known:
            raise _misplaced(i, result, truth)
        if not isinstance(score, Real) or not math.isfinite(score):
            raise BenchError(f"result {i} has score {score!r}, which cannot be ranked: give a finite number")
        try:
            image_ids[i], category_ids[i], scores[i] = image_id, category_id, score
        except (OverflowError, TypeError, ValueError) as error:
            raise BenchError(
                f"result {i} has image_id {image_id!r} and category_id {category_id!r} ({error})"
            ) from error
    return _Columns(image_ids, category_ids, scores)


def _misplaced(i: int, result: ResultDict, truth: Truth) -> BenchError:
    """Return the error for a result that does not fit the annotation file."""
    image_id = result["image_id"]
    if image_id not in truth.sizes:
        return BenchError(f"result {i} is of image {image_id!r}, which {truth.path} lacks: match the splits")
    return BenchError(
        f"result {i} has a mask of size {list(result['segmentation']['size'])}, but image {image_id} is "
        f"{list(truth.sizes[image_id])}: encode masks at (height, width) of the image"
    )


def _areas(results: Sequence[ResultDict]) -> np.ndarray:
    """Return the area of every mask, int64 [D] px, having checked that its runs fill the image."""
    covered, areas = rle_totals([result["segmentation"]["counts"] for result in results])
    expected = np.array([h * w for h, w in (result["segmentation"]["size"] for result in results)], dtype=np.int64)
    damaged = np.flatnonzero(covered != expected)
    if damaged.size:
        i = int(damaged[0])
        raise BenchError(
            f"result {i} has a damaged mask: its runs do not fill the {expected[i]} px of its image, "
            "encode it again as compressed RLE"
        )
    return areas


def _within_cap(image_ids: np.ndarray, scores: np.ndarray, most: int) -> np.ndarray:
    """Return which detections are among the `most` best of their image, bool [D]; a tie goes to the first."""
    order = np.lexsort((-scores, image_ids))
    ordered = image_ids[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    keep = np.empty(len(order), dtype=bool)
    keep[order] = rank < most
    return keep


def _four_fields(result: ResultDict) -> ResultDict:
    """Return the result without anything that could change how it is scored: box, area, id, crowd flag."""
    if result.keys() == RESULT_KEYS:
        return result
    return {key: result[key] for key in RESULT_KEYS}
