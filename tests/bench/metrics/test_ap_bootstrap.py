import math
from collections.abc import Callable
from pathlib import Path

import hotcoco
import numpy as np
import pytest

from bench.metrics import ap_bootstrap
from bench.metrics.ap import ApResult, coco_ap, lvis_ap
from bench.metrics.ap_averages import RULES, Average, Rules
from bench.metrics.ap_bootstrap import Cell, cells, replicate_averages
from bench.metrics.ap_results import clean_results
from bench.metrics.ap_truth import open_truth
from bench.metrics.interval import centred_interval, image_weights
from tests.bench.metrics.ap_cases import Case, Json, Truth, coco_truth, imperfect_results, lvis_truth, random_case

ORDER_OF_ADDITION = 1e-12
"""Replicates add the same precisions in another order than the official evaluators: up to 4e-16 was seen."""


def averages(name: str, path: Path, results: list[Json], weights: np.ndarray) -> dict[str, np.ndarray]:
    lvis = name == "lvis"
    truth = open_truth(path, lvis=lvis)
    detections = truth.dataset.load_res(clean_results(results, truth, lvis=lvis).detections)
    return replicate_averages(cells(truth, detections, lvis=lvis), weights, RULES[name], truth.frequencies)


def repeated(case: Case, times: np.ndarray) -> Case:
    """The data set in which the images, by id, are repeated so often, each copy with an id of its own."""
    images: list[Json] = []
    annotations: list[Json] = []
    results: list[Json] = []
    originals = sorted(case.dataset["images"], key=lambda image: image["id"])
    for image in np.repeat(np.array(originals, dtype=object), times):
        copy = {"image_id": len(images) + 1}
        images.append(image | {"id": copy["image_id"]})
        for one in case.dataset["annotations"]:
            if one["image_id"] == image["id"]:
                annotations.append(one | copy | {"id": len(annotations) + 1})
        results += [one | copy for one in case.results if one["image_id"] == image["id"]]
    return Case(case.dataset | {"images": images, "annotations": annotations}, results)


def without_ties(case: Case) -> Case:
    scores = np.random.default_rng(0).permutation(len(case.results)) / 97
    return Case(case.dataset, [one | {"score": float(s)} for one, s in zip(case.results, scores, strict=True)])


@pytest.mark.parametrize("name, ask", [("coco", coco_truth), ("lvis", lvis_truth)])
def test_a_replicate_is_the_evaluation_of_a_data_set_with_its_images_repeated(
    name: str, ask: Callable[[Path, list[Json]], Truth], tmp_path: Path
) -> None:
    compared = 0
    for seed in range(20):
        case = without_ties(random_case(seed, lvis=name == "lvis"))
        images = len(case.dataset["images"])
        if not images:
            continue
        weights = np.concatenate(list(image_weights(images, 3, seed)))
        replicates = averages(name, case.write(tmp_path), case.results, weights)
        for row, times in enumerate(weights):
            again = repeated(case, times)
            stats = ask(again.write(tmp_path), again.results).stats
            for key, values in replicates.items():
                value = -1 if math.isnan(values[row]) else values[row]
                assert value == pytest.approx(stats[key], abs=ORDER_OF_ADDITION)
                compared += value > 0
    assert compared > 50


@pytest.mark.parametrize("name, score", [("coco", coco_ap), ("lvis", lvis_ap)])
def test_every_image_once_is_the_data_set_itself_ties_and_all(
    name: str, score: Callable[..., ApResult], tmp_path: Path
) -> None:
    for seed in range(40):
        case = random_case(seed, lvis=name == "lvis")
        path = case.write(tmp_path)
        once = averages(name, path, case.results, np.ones((1, len(case.dataset["images"])), dtype=int))
        stats = score(path, case.results).stats
        for key, values in once.items():
            assert values[0] == pytest.approx(stats[key], abs=ORDER_OF_ADDITION, nan_ok=True)


def test_replicates_do_not_depend_on_how_many_images_or_numbers_are_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = random_case(8, lvis=False)
    path = case.write(tmp_path)
    whole = coco_ap(path, case.results, replicates=40).draws
    monkeypatch.setattr(ap_bootstrap, "IMAGES_AT_ONCE", 1)
    monkeypatch.setattr(ap_bootstrap, "NUMBERS_AT_ONCE", 50)
    parts = coco_ap(path, case.results, replicates=40).draws
    assert len(case.dataset["images"]) > 1
    for key, draws in whole.items():
        np.testing.assert_array_equal(parts[key], draws)


def test_draws_are_those_of_the_seed(tmp_path: Path) -> None:
    case = random_case(8, lvis=False)
    first, again, other = (
        coco_ap(case.write(tmp_path), case.results, replicates=30, seed=seed).draws["AP"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_spread_of_paired_differences_is_that_of_hotcocos_own_bootstrap(shared: Path) -> None:
    path = shared / "samples/coco/annotations/instances_val2017.json"
    results = [imperfect_results(path, seed) for seed in (0, 1)]
    ours = [coco_ap(path, one, replicates=200) for one in results]
    spread = np.nanstd(ours[0].draws["AP"] - ours[1].draws["AP"])
    truth = hotcoco.COCO(str(path))
    theirs = [hotcoco.COCOeval(truth, truth.load_res(one), "segm") for one in results]
    for evaluator in theirs:
        evaluator.evaluate()
    other = hotcoco.compare(theirs[1], theirs[0], n_bootstrap=200)["ci"]["AP"]["std_err"]
    # Two estimates from 200 draws each agree to 7 % (one standard error); three of them are allowed.
    assert spread == pytest.approx(other, rel=0.21)


def _simulated(rng: np.random.Generator, images: int, categories: int) -> list[Cell]:
    """Matches of a detector that is better on some images than on others."""
    found = []
    ease = rng.normal(0, 0.5, size=images)
    for category in range(categories):
        objects = rng.poisson(0.5, size=images)
        image = np.concatenate([np.repeat(np.arange(images), objects), rng.integers(images, size=images // 2)])
        level = 5 + 3 * ease[image] + 3 * rng.normal(size=len(image))
        level[objects.sum() :] = -1
        order = np.argsort(-(0.03 * level + 0.25 * rng.normal(size=len(image))))
        state = (level[order] > np.arange(10)[:, None]).astype(np.uint8)
        found.append(Cell(category, 0, image[order], state, np.repeat(np.arange(images), objects)))
    return found


def test_a_centred_interval_holds_the_expected_ap_and_a_plain_one_leans_upwards() -> None:
    rules, rng = Rules(False, (Average("AP"),), ()), np.random.default_rng(0)
    values, intervals, lean = [], [], []
    for seed in range(60):
        weights = np.concatenate([np.ones((1, 60)), *image_weights(60, 100, seed)])
        value, *draws = replicate_averages(_simulated(rng, 60, 12), weights, rules, ())["AP"]
        values.append(value)
        intervals.append(centred_interval(value, np.array(draws), 0, images=60))
        lean.append(np.mean(draws) - value)
    expected = np.mean(values)
    held = np.mean([one.low <= expected <= one.high for one in intervals])
    # 95 % less 3 standard errors of 60 trials.
    assert held > 0.86
    assert np.mean(lean) > 0.3 * np.std(values)


def test_a_cell_grows_with_its_objects_and_not_with_the_images_of_the_data_set(tmp_path: Path) -> None:
    case = without_ties(random_case(8, lvis=False))
    counted = [one["image_id"] for one in case.dataset["annotations"] if not one["iscrowd"]]
    path = case.write(tmp_path)
    truth = open_truth(path, lvis=False)
    detections = truth.dataset.load_res(case.results)
    whole = [cell for cell in cells(truth, detections, lvis=False) if cell.area == 0]
    assert sorted(truth.image_ids[place] for cell in whole for place in cell.objects) == sorted(counted)
    assert counted
