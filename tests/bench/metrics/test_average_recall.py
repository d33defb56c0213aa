"""Average recall without categories is pycocotools', on random data with crowds, ties and more masks than count."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.metrics.average_recall import CAPS, object_recalls
from models.errors import BenchError
from tests.bench.metrics.ap_cases import Case, Json, encode, random_case, rectangle

ROUNDING = 1e-12
"""Ours is a mean over objects of shares, pycocotools' one over thresholds: the same sum in another order."""


def official(path: Path, results: list[Json], caps: tuple[int, ...], image_ids: list[int] | None = None) -> np.ndarray:
    """Return pycocotools' average recall for each cap, float64 [caps]; -1 without objects.

    All results are of one category, as those of a model that names none: of equal scores pycocotools takes those of the
    first category first, though it looks at no category otherwise.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        alike = [{**one, "category_id": min(truth.cats)} for one in results]
        evaluator = COCOeval(truth, truth.loadRes(alike), "segm")
        evaluator.params.useCats, evaluator.params.maxDets = 0, list(caps)
        if image_ids is not None:
            evaluator.params.imgIds = sorted(image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
    mean: np.ndarray = evaluator.eval["recall"][:, 0, 0].mean(0)
    return mean


def assert_official(case: Case, folder: Path, caps: tuple[int, ...], image_ids: list[int] | None = None) -> None:
    path = case.write(folder)
    found = object_recalls(path, case.results, caps=caps, image_ids=image_ids)
    expected = official(path, case.results, caps, image_ids)
    if len(found.recall):
        np.testing.assert_allclose(found.recall.mean(0), expected, rtol=0, atol=ROUNDING)
    else:
        assert (expected == -1).all()


@pytest.mark.parametrize("batch", range(6))
@pytest.mark.parametrize("caps", [CAPS, (1, 3)])
def test_average_recall_of_random_data_sets_is_the_official_one(
    batch: int, caps: tuple[int, ...], tmp_path: Path
) -> None:
    for seed in range(batch * 20, (batch + 1) * 20):
        case = random_case(seed, lvis=False)
        if case.results:  # pycocotools cannot load none
            assert_official(case, tmp_path, caps)


def test_of_more_masks_than_count_the_official_ones_are_kept(tmp_path: Path) -> None:
    recalls = []
    for seed in range(6):
        case, rng = random_case(3000 + seed, lvis=False), np.random.default_rng(seed)
        first = {one["image_id"]: one for one in reversed(case.results)}
        many = [one for one in case.results for _ in range(1 if one is not first[one["image_id"]] else 1200)]
        ranked = [many[i] | {"score": float(rng.integers(0, 200)) / 200} for i in rng.permutation(len(many))]
        if ranked:
            crowded = Case(case.dataset, ranked)
            assert_official(crowded, tmp_path, CAPS)
            recalls.append(object_recalls(crowded.write(tmp_path), ranked, caps=(*CAPS, 10_000)).recall.sum(0))
    found = np.sum(recalls, axis=0)
    assert found[0] < found[1] < found[2], "a cap never mattered"


def test_some_of_the_images_are_scored_as_if_the_file_held_no_others(tmp_path: Path) -> None:
    scored = 0
    for seed in range(40):
        case = random_case(seed, lvis=False)
        images = [image["id"] for image in case.dataset["images"]][:2]
        if len(case.dataset["images"]) > 2 and case.results:
            assert_official(case, tmp_path, CAPS, images)
            scored += 1
    assert scored > 5


SQUARE = rectangle((100, 100), (10, 10, 50, 50))


def one_object(**more: Json) -> Json:
    annotation = {"id": 7, "image_id": 3, "category_id": 1, "segmentation": encode(SQUARE), "area": 1600.0, **more}
    images = [{"id": image_id, "height": 100, "width": 100} for image_id in (3, 4)]
    return {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "thing"}]}


def mask(box: tuple[int, int, int, int], score: float, image_id: int = 3) -> Json:
    return {"image_id": image_id, "segmentation": encode(rectangle((100, 100), box)), "score": score}


def test_an_object_is_found_at_the_thresholds_that_its_best_free_mask_reaches(tmp_path: Path) -> None:
    path = Case(one_object(), []).write(tmp_path)
    found = object_recalls(path, [mask((10, 10, 50, 37), 0.5), mask((60, 60, 80, 80), 0.9)])  # IoU 27/40 = 0.675
    assert found.image_id.tolist() == [3]
    assert found.annotation_id.tolist() == [7]
    assert found.recall.tolist() == [[0.4, 0.4]]  # .50, .55, .60, .65
    assert object_recalls(
        path, [mask((60, 60, 80, 80), 0.9), mask((10, 10, 50, 50), 0.1)], caps=(1, 2)
    ).recall.tolist() == [[0.0, 1.0]]


def test_without_masks_nothing_is_found_and_crowds_are_no_objects(tmp_path: Path) -> None:
    assert object_recalls(Case(one_object(), []).write(tmp_path), []).recall.tolist() == [[0.0, 0.0]]
    crowd = object_recalls(Case(one_object(iscrowd=1), []).write(tmp_path), [mask((10, 10, 50, 50), 0.5)])
    assert crowd.recall.shape == (0, 2)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    wrong = {"image_id": 3, "segmentation": encode(np.ones((9, 9), bool)), "score": 1.0}
    with pytest.raises(BenchError, match="size"):
        object_recalls(Case(one_object(), []).write(tmp_path), [wrong])
