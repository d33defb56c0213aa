"""Average precision of instance masks, and of boxes, as COCO and LVIS define it: what Tables 2 and 5 print.

The engine is hotcoco. It agrees with pycocotools 2.0.11 and lvis 0.5.3 to the last bit of every precision and
recall, fuzzed in tests/bench/metrics/test_ap_fuzz.py, but for these inputs, which never reach it as they are:

- LVIS, mask or annotation of area 0: lvis leaves out both, masks after its cap of 300;
  hotcoco counts them. Left out.
- LVIS, an annotation with `ignore` or `iscrowd`: lvis reads the one, hotcoco the other; LVIS v1
  has neither. Refused.
- LVIS, images without the federated lists: lvis stops, hotcoco scores them unfederated. Refused.
- An annotation with id 0: the official evaluators take a match with it for no match. Refused.
- An annotation without area: pycocotools stops, hotcoco goes on. Refused.
- A result of an unknown image, of another size, without mask or score, or with damaged runs: refused by
  the official evaluators or left unmatched, scored by hotcoco as a miss or by its fragment. Refused.
- No results: the official evaluators stop, hotcoco scores 0, and so do we.

One refusal is ours: a result of an unknown category, which all evaluators leave out (and which is how
class-agnostic results come to AP 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypedDict, Unpack

import hotcoco
import numpy as np

from bench.metrics.ap_averages import RULES
from bench.metrics.ap_bootstrap import bootstrap_averages
from bench.metrics.ap_results import ResultDict, Results, clean_boxes, clean_results
from bench.metrics.ap_truth import Truth, open_truth
from bench.metrics.interval import Interval, centred_interval
from models.errors import BenchError


@dataclass(frozen=True, slots=True)
class ApResult:
    """Average precision of one model on one data set."""

    stats: dict[str, float]
    """AP, AP50, AP75, APs, APm, APl (LVIS also APr, APc, APf), then the recalls AR*; 0..1, NaN where no
    object of that kind is in the data (official evaluators print -1)."""
    intervals: dict[str, Interval]
    """Of every AP*, n = detections; without replicates their ends are NaN."""
    precision: np.ndarray = field(repr=False)
    """float64 [T, R, K, A, M]: 10 IoU thresholds, 101 recalls, categories by id, 4 areas, caps 1, 10, 100
    (LVIS: one cap of 300 an image); -1 for categories without objects."""
    recall: np.ndarray = field(repr=False)
    """float64 [T, K, A, M]."""
    image_ids: tuple[int, ...] = field(repr=False)
    """The images evaluated, ascending."""
    n_detections: int
    """Evaluated ones: of those images and, for LVIS, within the cap."""
    dropped_boxes: int
    """Results that carried a box; S/M/L would have been told apart by it."""
    draws: dict[str, np.ndarray] = field(repr=False)
    """The replicates behind the intervals, float64 [B] each, NaN where a replicate drew no such object."""
    seed: int

    def difference(self, other: ApResult) -> dict[str, Interval]:
        """Return this AP minus another model's, each AP* with the interval of a bootstrap paired over images.

        Raises:
            BenchError: if the two were not bootstrapped over the same images with the same seed.
        """
        if self._sample() != other._sample():
            raise BenchError("AP differences need the same images, seed and replicates twice: score both models again")
        return {
            key: centred_interval(
                self.stats[key] - other.stats[key],
                draws - other.draws[key],
                self.n_detections,
                images=len(self.image_ids),
            )
            for key, draws in self.draws.items()
        }

    def _sample(self) -> tuple[object, ...]:
        return self.image_ids, self.seed, [(key, len(draws)) for key, draws in self.draws.items()]


class Sampling(TypedDict, total=False):
    """What may be told to any of the scores below."""

    replicates: int
    """Bootstrap samples over images for the 95 % intervals; 0, as usual, asks for none. 500 cost half a second of one
    core for 120 images of 15 detections, 16.5 s for 5,000 images of 18."""
    seed: int
    """Of the bootstrap, usually 0; the same seed draws the same images for every model."""
    image_ids: Sequence[int] | None
    """Evaluate these images only, as if the file held no others."""


def coco_ap(
    annotation_path: str | PathLike[str], results: Sequence[ResultDict], **sampling: Unpack[Sampling]
) -> ApResult:
    """Score mask results on COCO as pycocotools does.

    Args:
        annotation_path: instances_val2017.json or its like.
        results: dicts of image_id, category_id, segmentation {size, counts (compressed)} and score.
            Areas come from the masks: a bbox is dropped and counted.
        sampling: see `Sampling`.

    Raises:
        BenchError: if file or results are not what they should be; it says which one, and why.
    """
    return _score("coco", annotation_path, results, **sampling)


def coco_box_ap(
    annotation_path: str | PathLike[str], results: Sequence[ResultDict], **sampling: Unpack[Sampling]
) -> ApResult:
    """Score box results on COCO as pycocotools does.

    Results are dicts of image_id, category_id, bbox (x, y, width, height in px) and score; areas come from the boxes,
    a mask is not looked at. Other arguments, raises: see `coco_ap`.
    """
    return _score("coco", annotation_path, results, boxes=True, **sampling)


def lvis_ap(
    annotation_path: str | PathLike[str], results: Sequence[ResultDict], **sampling: Unpack[Sampling]
) -> ApResult:
    """Score mask results on LVIS v1 as lvis does: federated, the 300 best detections of an image.

    Arguments, raises: see `coco_ap`.
    """
    return _score("lvis", annotation_path, results, **sampling)


def _score(
    dataset: str,
    annotation_path: str | PathLike[str],
    results: Sequence[ResultDict],
    *,
    replicates: int = 0,
    seed: int = 0,
    image_ids: Sequence[int] | None = None,
    boxes: bool = False,
) -> ApResult:
    rules = RULES[dataset]
    truth = open_truth(annotation_path, lvis=rules.lvis, image_ids=image_ids)
    cleaned: Results = clean_boxes(results, truth) if boxes else clean_results(results, truth, lvis=rules.lvis)
    try:
        detections = truth.dataset.load_res(cleaned.detections)
    except (ValueError, TypeError, OverflowError) as error:
        raise BenchError(f"a result for {truth.path} is malformed ({error}): write it as COCO results are") from error
    compared = "bbox" if boxes else "segm"
    arrays = _evaluate(truth, detections, rules.lvis, compared)
    stats = {one.key: one.of(arrays["precision"][..., -1], truth.frequencies) for one in rules.averages}
    draws = bootstrap_averages(truth, detections, rules, replicates=replicates, seed=seed, compared=compared)
    return ApResult(
        stats=stats | {one.key: one.of(arrays["recall"]) for one in rules.recalls},
        intervals={
            key: _within_bounds(
                centred_interval(stats[key], draw, len(cleaned.detections), images=len(truth.image_ids))
            )
            for key, draw in draws.items()
        },
        precision=arrays["precision"],
        recall=arrays["recall"],
        image_ids=truth.image_ids,
        n_detections=len(cleaned.detections),
        dropped_boxes=cleaned.dropped_boxes,
        draws=draws,
        seed=seed,
    )


def _within_bounds(interval: Interval) -> Interval:
    """Return the interval with its ends kept to 0..1; NaN stays NaN."""
    low, high = np.clip([interval.low, interval.high], 0.0, 1.0)
    return interval._replace(low=float(low), high=float(high))


def _evaluate(truth: Truth, detections: hotcoco.COCO, lvis: bool, compared: str) -> dict[str, Any]:
    """Return the engine's arrays: precision [T, R, K, A, M] and recall [T, K, A, M]."""
    evaluator = hotcoco.COCOeval(truth.dataset, detections, compared, lvis_style=lvis)
    evaluator.params.img_ids = list(truth.image_ids)
    evaluator.evaluate()
    evaluator.accumulate()
    arrays = evaluator.eval
    assert arrays is not None
    return arrays
