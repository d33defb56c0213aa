"""Box AP against pycocotools, to the last bit, and its replicates against data sets with repeated images."""

from __future__ import annotations

import contextlib
import copy
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.metrics.ap import ApResult, coco_box_ap
from models.errors import BenchError
from tests.bench.metrics.ap_cases import Case, Json, imperfect_results, random_case

KEYS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def official(path: Path, results: list[Json]) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        evaluator = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def assert_official(found: ApResult, path: Path, results: list[Json]) -> None:
    truth = official(path, results)
    np.testing.assert_array_equal(found.precision, truth.eval["precision"])
    np.testing.assert_array_equal(found.recall, truth.eval["recall"])
    stats = {key: -1 if math.isnan(value) else value for key, value in found.stats.items()}
    assert stats == dict(zip(KEYS, map(float, truth.stats), strict=True))


def boxed(case: Case, seed: int) -> Case:
    """The case with boxes: of annotations those of their masks, of results these shaken by fractions of a pixel."""
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in case.dataset["images"]}

    def box(one: Json) -> list[float]:
        shape = one["segmentation"]
        if isinstance(shape, list):
            shape = rle.merge(rle.frPyObjects(shape, *sizes[one["image_id"]]))
        return [float(number) for number in rle.toBbox(shape)]

    annotations = [one | {"bbox": box(one)} for one in case.dataset["annotations"]]
    results = []
    for one in case.results:
        x, y, width, height = box(one)
        dx, dy = rng.uniform(-2, 2, 2) * (rng.random() < 0.7)
        rest = {key: one[key] for key in ("image_id", "category_id", "score")}
        results.append({**rest, "bbox": [x + dx, y + dy, width, height]})
    return Case(case.dataset | {"annotations": annotations}, results)


@pytest.mark.parametrize("batch", range(4))
def test_random_data_sets_score_as_pycocotools_says(batch: int, tmp_path: Path) -> None:
    compared = 0
    for seed in range(batch * 15, (batch + 1) * 15):
        case = boxed(random_case(seed, lvis=False), seed)
        if case.results:
            path = case.write(tmp_path)
            assert_official(coco_box_ap(path, case.results), path, case.results)
            compared += 1
    assert compared > 5


def test_real_annotations_score_as_pycocotools_says(shared: Path) -> None:
    path = shared / "samples" / "coco/annotations/instances_val2017.json"
    results = [
        {
            **{key: one[key] for key in ("image_id", "category_id", "score")},
            "bbox": rle.toBbox(one["segmentation"]).tolist(),
        }
        for one in imperfect_results(path, 0)
    ]
    found = coco_box_ap(path, results, replicates=50)
    assert_official(found, path, results)
    low, high = found.intervals["AP"].low, found.intervals["AP"].high
    assert 0.1 < low < found.stats["AP"] < high < 0.9


def test_a_replicate_is_the_evaluation_of_a_data_set_with_its_images_repeated(tmp_path: Path) -> None:
    """All images drawn the same number of times give the data set's own AP: here there is but one image."""
    one_image = next(
        case
        for case in (boxed(random_case(seed, lvis=False), seed) for seed in range(100))
        if len(case.dataset["images"]) == 1 and len(case.results) > 3 and case.dataset["annotations"]
    )
    found = coco_box_ap(one_image.write(tmp_path), one_image.results, replicates=3)
    np.testing.assert_allclose(found.draws["AP50"], found.stats["AP50"], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bbox": [1, 2, 3]}, "give finite numbers, sides of at least 0"),
        ({"bbox": [1, 2, -3, 4]}, "give finite numbers, sides of at least 0"),
        ({"bbox": [1, 2, math.nan, 4]}, "give finite numbers, sides of at least 0"),
        ({"score": math.inf}, "give finite numbers, sides of at least 0"),
        ({"bbox": None}, "is not a box detection"),
        ({"image_id": 10**6}, "which .* lacks: match the splits"),
    ],
)
def test_wrong_results_are_refused(change: Json, sentence: str, tmp_path: Path) -> None:
    case = next(c for c in (boxed(random_case(s, lvis=False), s) for s in range(100)) if c.results)
    with pytest.raises(BenchError, match=sentence):
        coco_box_ap(case.write(tmp_path), [case.results[0] | change])
