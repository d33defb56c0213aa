import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.metrics.ap import ApResult, coco_ap, lvis_ap
from models.errors import BenchError
from tests.bench.metrics.ap_cases import (
    Case,
    Json,
    coco_truth,
    encode,
    imperfect_results,
    lvis_truth,
    perfect_results,
    random_case,
    rectangle,
)

SIZE = (100, 120)
COCO_FILE, LVIS_FILE = "coco/annotations/instances_val2017.json", "lvis/annotations/lvis_v1_val.json"


def square(side: int, at: int = 5) -> Json:
    return encode(rectangle(SIZE, (at, at, at + side, at + side)))


def one_object(*, lvis: bool = False) -> Json:
    """Two images, two categories, one object of 40 x 40 px."""
    image: Json = {"height": SIZE[0], "width": SIZE[1]}
    category: Json = {}
    if lvis:
        image |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
        category = {"frequency": "f"}
    return {
        "images": [{"id": 1} | image, {"id": 2} | image],
        "categories": [{"id": 1, "name": "a"} | category, {"id": 7, "name": "b"} | category],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": square(40), "area": 1600}
            | ({} if lvis else {"iscrowd": 0})
        ],
    }


def result(**changes: Any) -> Json:
    return {"image_id": 1, "category_id": 1, "segmentation": square(40), "score": 0.5} | changes


def write(dataset: Json, folder: Path) -> Path:
    return Case(dataset, []).write(folder)


@pytest.mark.parametrize("seed", range(3))
def test_coco_ap_of_real_annotations_is_that_of_pycocotools(seed: int, shared: Path) -> None:
    path = shared / "samples" / COCO_FILE
    results = imperfect_results(path, seed)
    found, truth = coco_ap(path, results), coco_truth(path, results)
    np.testing.assert_array_equal(found.precision, truth.precision)
    np.testing.assert_array_equal(found.recall, truth.recall)
    assert found.stats == truth.stats
    assert 0.1 < found.stats["AP"] < 0.9


@pytest.mark.parametrize("seed", range(3))
def test_lvis_ap_of_real_annotations_is_that_of_lvis(seed: int, shared: Path) -> None:
    path = shared / "samples" / LVIS_FILE
    results = imperfect_results(path, seed)
    found, truth = lvis_ap(path, results), lvis_truth(path, results)
    np.testing.assert_array_equal(found.precision[..., 0], truth.precision)
    np.testing.assert_array_equal(found.recall[..., 0], truth.recall)
    assert found.stats == truth.stats
    assert {"APr", "APc", "APf"} < found.stats.keys()


@pytest.mark.parametrize("score, file", [(coco_ap, COCO_FILE), (lvis_ap, LVIS_FILE)])
def test_the_ground_truth_as_results_has_ap_1(score: Callable[..., ApResult], file: str, shared: Path) -> None:
    path = shared / "samples" / file
    found = score(path, perfect_results(path), replicates=20)
    ap = {key: value for key, value in found.stats.items() if key.startswith("AP")}
    # A category of one object has precision 1 - 2.2e-16 in the official evaluators, too.
    assert ap == pytest.approx(dict.fromkeys(ap, 1.0), abs=1e-12)
    assert found.intervals["AP"] == pytest.approx((1.0, 1.0, 1.0, found.n_detections), abs=1e-12)


def test_size_classes_come_from_the_mask_and_boxes_are_dropped_and_counted(tmp_path: Path) -> None:
    dataset = one_object()
    dataset["annotations"][0] |= {"segmentation": square(30), "area": 900}
    path = write(dataset, tmp_path)
    # A false alarm of 30 x 30 px ahead of the match: small by its mask, large by its box.
    alarm = result(segmentation=square(30, at=60), score=0.9, bbox=[0, 0, 120, 100])
    found = coco_ap(path, [alarm, result(segmentation=square(30))])
    assert found.dropped_boxes == 1
    assert found.stats["APs"] == 0.5
    assert coco_truth(path, [alarm, result(segmentation=square(30), bbox=[5, 5, 30, 30])]).stats["APs"] > 0.9


def test_other_fields_of_a_result_change_nothing(tmp_path: Path) -> None:
    path = write(one_object(), tmp_path)
    plain = coco_ap(path, [result()])
    marked = coco_ap(path, [result(area=1, id=99, iscrowd=1, ignore=1)])
    assert marked.stats == pytest.approx(plain.stats, nan_ok=True)


def test_results_are_left_as_they_were(tmp_path: Path) -> None:
    results = [result(bbox=[5, 5, 40, 40])]
    before = json.dumps(results)
    coco_ap(write(one_object(), tmp_path), results, replicates=3)
    assert json.dumps(results) == before


def test_no_results_score_0_where_there_are_objects_and_nan_where_there_are_none(tmp_path: Path) -> None:
    found = coco_ap(write(one_object(), tmp_path), [], replicates=5)
    assert found.stats["AP"] == found.stats["AR100"] == 0
    assert np.isnan([found.stats["APs"], found.stats["APl"]]).all()
    assert found.intervals["AP"] == (0, 0, 0, 0)
    assert np.isnan(found.intervals["APs"].low)


def test_a_file_without_images_has_no_ap(tmp_path: Path) -> None:
    path = write({"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}, tmp_path)
    found = coco_ap(path, [], replicates=5)
    assert np.isnan(list(found.stats.values())).all()
    assert np.isnan(found.intervals["AP"][:3]).all()


def test_one_image_has_an_ap_without_an_interval(tmp_path: Path) -> None:
    dataset = one_object()
    del dataset["images"][1]
    found = coco_ap(write(dataset, tmp_path), [result()], replicates=20)
    assert found.intervals["AP"].value == found.stats["AP"] > 0.99
    assert np.isnan([found.intervals["AP"].low, found.intervals["AP"].high]).all()


@pytest.mark.parametrize("lvis", [False, True])
def test_chosen_images_score_as_a_file_that_holds_no_others(lvis: bool, tmp_path: Path) -> None:
    score = lvis_ap if lvis else coco_ap
    for seed in range(20):
        case = random_case(seed, lvis=lvis)
        ids = [image["id"] for image in case.dataset["images"]][::2]
        if not ids:
            continue
        part = {
            "images": [one for one in case.dataset["images"] if one["id"] in ids],
            "annotations": [one for one in case.dataset["annotations"] if one["image_id"] in ids],
            "categories": case.dataset["categories"],
        }
        chosen = score(case.write(tmp_path), case.results, image_ids=ids, replicates=3)
        kept = [one for one in case.results if one["image_id"] in ids]
        alone = score(write(part, tmp_path), kept, replicates=3)
        np.testing.assert_array_equal(chosen.precision, alone.precision)
        assert chosen.n_detections == alone.n_detections == len(kept) or lvis
        for key, interval in chosen.intervals.items():
            assert interval == pytest.approx(alone.intervals[key], nan_ok=True)


def test_image_choices_that_cannot_be_are_refused(tmp_path: Path) -> None:
    path = write(one_object(), tmp_path)
    with pytest.raises(BenchError, match="image 9 is to be evaluated but is not in"):
        coco_ap(path, [], image_ids=[1, 9])
    with pytest.raises(BenchError, match="choose at least one"):
        coco_ap(path, [], image_ids=[])


def mask_result(size: list[int], counts: Any) -> Json:
    return result(segmentation={"size": size, "counts": counts})


WHOLE = square(40)["counts"]
WRONG_RESULTS = [
    (result(image_id=9), "result 1 is of image 9, which .* lacks"),
    (result(image_id="1"), "result 1 is of image '1', which .* lacks"),
    (result(score=float("nan")), "result 1 has score nan"),
    (result(score=float("inf")), "result 1 has score inf"),
    (result(score="0.5"), "result 1 has score '0.5'"),
    (result(score=None), "result 1 has score None"),
    (result(image_id=[1]), "result 1 is not a mask detection"),
    (result(segmentation=None), "result 1 is not a mask detection"),
    (result(segmentation=[[1, 2, 3, 4, 5, 6]]), "result 1 is not a mask detection"),
    ({"image_id": 1, "category_id": 1, "score": 1.0}, "result 1 is not a mask detection .*'segmentation'"),
    (mask_result([120, 100], WHOLE), "result 1 has a mask of size"),
    (mask_result([100, 120], WHOLE[:-2]), "result 1 has a damaged mask"),
    (mask_result([100, 120], ""), "result 1 has a damaged mask"),
    (mask_result([100, 120], [12000]), "compressed string, got list"),
]


@pytest.mark.parametrize("wrong, message", WRONG_RESULTS)
@pytest.mark.parametrize("lvis", [False, True])
def test_a_result_that_cannot_be_scored_is_named(wrong: Json, message: str, lvis: bool, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=message):
        (lvis_ap if lvis else coco_ap)(write(one_object(lvis=lvis), tmp_path), [result(), wrong])


def _without(dataset: Json, kind: str, key: str) -> Json:
    return dataset | {kind: [{k: v for k, v in one.items() if k != key} for one in dataset[kind]]}


def _with(dataset: Json, kind: str, **values: Any) -> Json:
    return dataset | {kind: [one | values for one in dataset[kind]]}


BOTH, LVIS = one_object(), one_object(lvis=True)
WRONG_FILES = [
    (coco_ap, BOTH | {"categories": []}, "lists no categories"),
    (coco_ap, BOTH | {"annotations": 2 * BOTH["annotations"]}, "gives 1 annotation ids twice"),
    (coco_ap, _with(BOTH, "annotations", id=0), "has an annotation with id 0"),
    (coco_ap, _without(BOTH, "annotations", "area"), "has annotations without an area"),
    (coco_ap, _without(BOTH, "annotations", "segmentation"), "has annotations without a segmentation"),
    (coco_ap, _without(BOTH, "images", "height"), "image 1 of .* has no height or width"),
    (lvis_ap, BOTH, 'has images without "neg_category_ids"'),
    (lvis_ap, _without(LVIS, "images", "not_exhaustive_category_ids"), "not_exhaustive_category_ids"),
    (lvis_ap, _without(LVIS, "categories", "frequency"), "category 1 of .* has no frequency"),
    (lvis_ap, _with(LVIS, "annotations", iscrowd=1), "marks annotations as crowd or ignored"),
    (lvis_ap, _with(LVIS, "annotations", ignore=1), "marks annotations as crowd or ignored"),
]


@pytest.mark.parametrize("score, dataset, message", WRONG_FILES)
def test_an_annotation_file_that_evaluators_read_differently_is_refused(
    score: Callable[..., ApResult], dataset: Json, message: str, tmp_path: Path
) -> None:
    with pytest.raises(BenchError, match=message):
        score(write(dataset, tmp_path), [])


@pytest.mark.parametrize("text", ["", "{", "null", '{"images": 3}'])
def test_a_file_that_is_no_annotation_file_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(text)
    with pytest.raises(BenchError, match=r"annotations\.json is not a COCO annotation file"):
        coco_ap(path, [])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"cannot read the annotation file .*gone\.json"):
        coco_ap(tmp_path / "gone.json", [])


def test_lvis_leaves_out_masks_and_annotations_of_no_area_as_lvis_does(tmp_path: Path) -> None:
    dataset = one_object(lvis=True)
    dataset["annotations"].append(dataset["annotations"][0] | {"id": 2, "area": 0})
    path = write(dataset, tmp_path)
    results = [result(segmentation=square(0), score=0.9), result()]
    found = lvis_ap(path, results)
    assert found.n_detections == 1
    assert found.stats["AP"] == lvis_truth(path, results).stats["AP"] > 0.99


@pytest.mark.parametrize("lvis, cap", [(False, 100), (True, 300)])
@pytest.mark.parametrize("ahead, score, counts", [(-1, 0.1, True), (0, 0.1, False), (-1, 0.9, True), (0, 0.9, False)])
def test_the_last_detection_under_the_cap_counts_and_of_a_tie_the_first_in_the_file(
    lvis: bool, cap: int, ahead: int, score: float, counts: bool, tmp_path: Path
) -> None:
    path = write(one_object(lvis=lvis), tmp_path)
    alarms = [result(segmentation=square(9, at=60), score=0.9)] * (cap + ahead)
    results = [*alarms, result(score=score), *alarms[:3]]
    if score < 0.9:
        results = results[:-3]
    found = (lvis_ap if lvis else coco_ap)(path, results)
    truth = (lvis_truth if lvis else coco_truth)(path, results)
    assert (found.stats["AP"] > 0) == counts
    assert found.stats["AP"] == truth.stats["AP"]


def test_a_difference_with_itself_is_exactly_nothing(tmp_path: Path) -> None:
    case = random_case(8, lvis=False)
    found = coco_ap(case.write(tmp_path), case.results, replicates=30)
    assert found.difference(found)["AP"][:3] == (0, 0, 0)


def test_a_paired_difference_is_narrower_than_its_two_intervals(shared: Path) -> None:
    path = shared / "samples" / COCO_FILE
    good = imperfect_results(path, 0)
    bad = [one | {"category_id": 1} if i % 10 == 0 else one for i, one in enumerate(good)]
    first, second = (coco_ap(path, results, replicates=100) for results in (good, bad))
    difference = first.difference(second)["AP"]
    assert difference.value == first.stats["AP"] - second.stats["AP"]
    assert difference.low < difference.value < difference.high
    assert difference.high - difference.low < 0.6 * (first.intervals["AP"].high - first.intervals["AP"].low)


def test_differences_between_runs_that_were_not_drawn_alike_are_refused(tmp_path: Path) -> None:
    path = write(one_object(), tmp_path)
    base = coco_ap(path, [result()], replicates=5)
    others: list[Json] = [
        {"replicates": 6},
        {"replicates": 5, "seed": 1},
        {"replicates": 5, "image_ids": [1]},
    ]
    for other in others:
        with pytest.raises(BenchError, match="the same images, seed and replicates twice"):
            base.difference(coco_ap(path, [result()], **other))
