"""How many of the annotated objects a model's masks find, whatever their category: COCO's average recall.

Matching is hotcoco's without categories, as pycocotools' with `useCats = 0`: at each IoU threshold every mask of an
image, best first, takes the free object that it overlaps most. Average recall is the mean over objects of the share of
the ten thresholds at which an object was taken, so that it can be resampled like any other mean. Equal to pycocotools
2.0.11 with the same caps, see tests/bench/metrics/test_average_recall.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, NamedTuple

import hotcoco
import numpy as np

from bench.metrics.ap_bootstrap import IMAGES_AT_ONCE, THRESHOLDS
from bench.metrics.ap_results import ResultDict, clean_results
from bench.metrics.ap_truth import Truth, open_truth

CAPS = (100, 1000)
"""Most masks of an image that count."""
_ALL_AREAS = [0.0, 1e10]
"""px²; that of pycocotools' size class "all"."""


class ObjectRecalls(NamedTuple):
    """How well each annotated object was found; crowds are no objects."""

    image_id: np.ndarray
    """int64 [N]."""
    annotation_id: np.ndarray
    """int64 [N]."""
    recall: np.ndarray
    """float64 [N, caps], 0..1: share of the IoU thresholds .50, .55, ..., .95 at which a mask was matched with it."""


def object_recalls(
    annotation_path: str | PathLike[str],
    results: Sequence[ResultDict],
    *,
    caps: Sequence[int] = CAPS,
    image_ids: Sequence[int] | None = None,
) -> ObjectRecalls:
    """Match masks with annotated objects whatever their categories, and return how well each object was found.

    Args:
        annotation_path: in COCO's format.
        results: dicts of image_id, segmentation {size, counts (compressed)} and score, by which the masks of an image
            are ranked, equal ones in their order.
        caps: most masks of an image that count, ascending.
        image_ids: these images only, as if the file held no others.

    Raises:
        BenchError: if file or results are not what they should be.
    """
    truth = open_truth(annotation_path, lvis=False, image_ids=image_ids)
    named = [{**result, "category_id": truth.category_ids[0]} for result in results]
    detections = truth.dataset.load_res(clean_results(named, truth, lvis=False).detections)
    found = [_NONE._replace(recall=np.zeros((0, len(caps))))]
    for start in range(0, len(truth.image_ids), IMAGES_AT_ONCE):
        images = truth.image_ids[start : start + IMAGES_AT_ONCE]
        found += [_of_image(one, caps) for one in _matched(truth, detections, images, caps[-1])]
    return ObjectRecalls(*(np.concatenate(part) for part in zip(*found, strict=True)))


_NONE = ObjectRecalls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 0)))


def _matched(truth: Truth, detections: hotcoco.COCO, images: Sequence[int], cap: int) -> list[dict[str, Any]]:
    """Return what the engine matched in each image that has an object or a mask."""
    evaluator = hotcoco.COCOeval(truth.dataset, detections, "segm")
    params = evaluator.params
    params.use_cats, params.max_dets, params.img_ids = False, [cap], list(images)
    params.area_rng, params.area_rng_lbl = [_ALL_AREAS], ["all"]
    evaluator.evaluate()
    return [one for one in evaluator.eval_imgs if one is not None]


def _of_image(matched: dict[str, Any], caps: Sequence[int]) -> ObjectRecalls:
    """Return the objects of one image, from the engine's entry."""
    counts = ~np.array(matched["gtIgnore"], dtype=bool)
    objects = np.array(matched["gtIds"], dtype=np.int64)[counts]
    taken_by = np.array(matched["gtMatches"], dtype=np.int64).reshape(THRESHOLDS, -1)[
        :, counts
    ]  # [T, N] id of the mask
    ranks = {mask: rank for rank, mask in enumerate(matched["dtIds"])} | {0: caps[-1]}  # 0: nobody took it
    rank = np.array([ranks[mask] for mask in taken_by.ravel().tolist()], dtype=np.int64).reshape(taken_by.shape)
    recall = (rank[..., None] < np.array(caps)).mean(0)  # [N, caps]
    return ObjectRecalls(np.full(len(objects), matched["image_id"]), objects, recall)
