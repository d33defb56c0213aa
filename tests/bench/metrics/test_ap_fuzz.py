"""The engine against the official evaluators, on hundreds of tiny data sets: every entry, to the last bit."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.metrics.ap import ApResult, coco_ap, lvis_ap
from tests.bench.metrics.ap_cases import Case, Json, Truth, coco_truth, encode, lvis_truth, random_case, rectangle

BATCHES = range(10)
CASES_IN_A_BATCH = 20
EVALUATORS = {"coco": (coco_ap, coco_truth), "lvis": (lvis_ap, lvis_truth)}


def assert_same_to_the_last_bit(found: ApResult, truth: Truth) -> None:
    shape = found.precision.shape if truth.precision.ndim == 5 else found.precision.shape[:4]
    np.testing.assert_array_equal(found.precision.reshape(shape), truth.precision)
    np.testing.assert_array_equal(found.recall.reshape(truth.recall.shape), truth.recall)
    assert {key: -1 if math.isnan(value) else value for key, value in found.stats.items()} == truth.stats


def compare(name: str, case: Case, folder: Path) -> None:
    score, ask = EVALUATORS[name]
    path = case.write(folder)
    assert_same_to_the_last_bit(score(path, case.results), ask(path, case.results))


@pytest.mark.parametrize("name", EVALUATORS)
@pytest.mark.parametrize("batch", BATCHES)
def test_precision_and_recall_of_random_data_sets_are_the_official_ones(name: str, batch: int, tmp_path: Path) -> None:
    for seed in range(batch * CASES_IN_A_BATCH, (batch + 1) * CASES_IN_A_BATCH):
        compare(name, random_case(seed, lvis=name == "lvis"), tmp_path)


def _signed_zeros(rng: np.random.Generator, case: Case) -> list[Json]:
    return [one | {"score": float(rng.choice([0.0, -0.0, 0.5]))} for one in case.results]


def _extreme_scores(rng: np.random.Generator, case: Case) -> list[Json]:
    return [one | {"score": float(rng.choice([-1, 1e300, 5e-324, 0.3, 0.1 + 0.2]))} for one in case.results]


def _whole_scores(rng: np.random.Generator, case: Case) -> list[Json]:
    return [one | {"score": int(rng.integers(2))} for one in case.results]


def _numpy_numbers(rng: np.random.Generator, case: Case) -> list[Json]:
    return [one | {"score": np.float32(rng.random()), "image_id": np.int64(one["image_id"])} for one in case.results]


def _only_empty_masks(rng: np.random.Generator, case: Case) -> list[Json]:
    sizes = {image["id"]: (image["height"], image["width"]) for image in case.dataset["images"]}
    return [one | {"segmentation": encode(rectangle(sizes[one["image_id"]], (0, 0, 0, 0)))} for one in case.results]


def _repeated(rng: np.random.Generator, case: Case, times: int) -> list[Json]:
    """Every image has more detections than count, with ties at the cap."""
    draws = [one | {"score": float(rng.integers(0, 20)) / 20} for one in case.results for _ in range(times)]
    return [draws[i] for i in rng.permutation(len(draws))]


def _over_the_coco_cap(rng: np.random.Generator, case: Case) -> list[Json]:
    classes = [one | {"category_id": case.dataset["categories"][0]["id"]} for one in case.results]
    return _repeated(rng, Case(case.dataset, classes), 40)


def _over_the_lvis_cap(rng: np.random.Generator, case: Case) -> list[Json]:
    return _repeated(rng, case, 90)


ODDITIES: list[Callable[[np.random.Generator, Case], list[Json]]] = [
    _signed_zeros,
    _extreme_scores,
    _whole_scores,
    _numpy_numbers,
    _only_empty_masks,
    lambda rng, case: [],
]


@pytest.mark.parametrize("name", EVALUATORS)
@pytest.mark.parametrize("odd", ODDITIES, ids=lambda odd: odd.__name__.strip("_<>"))
def test_odd_results_score_as_officially(
    name: str, odd: Callable[[np.random.Generator, Case], list[Json]], tmp_path: Path
) -> None:
    for seed in range(15):
        case = random_case(1000 + seed, lvis=name == "lvis")
        compare(name, Case(case.dataset, odd(np.random.default_rng(seed), case)), tmp_path)


@pytest.mark.parametrize("name", EVALUATORS)
@pytest.mark.parametrize("odd", [_over_the_coco_cap, _over_the_lvis_cap])
def test_of_more_detections_than_count_the_official_ones_are_kept(
    name: str, odd: Callable[[np.random.Generator, Case], list[Json]], tmp_path: Path
) -> None:
    for seed in range(4):
        case = random_case(2000 + seed, lvis=name == "lvis")
        compare(name, Case(case.dataset, odd(np.random.default_rng(seed), case)), tmp_path)


def test_the_random_data_sets_have_what_an_evaluator_can_get_wrong() -> None:
    cases = [random_case(seed, lvis=lvis) for seed in range(100) for lvis in (False, True)]
    annotations = [one for case in cases for one in case.dataset["annotations"]]
    known = [{(one["image_id"], one["category_id"]) for one in case.dataset["annotations"]} for case in cases]
    assert any(one.get("iscrowd") for one in annotations)
    assert {1024.0, 9216.0, 0.0} <= {one["area"] for one in annotations}
    assert any(isinstance(one["segmentation"], list) for one in annotations)
    assert any(not case.dataset["images"] for case in cases)
    assert any(not case.results and case.dataset["annotations"] for case in cases)
    assert any(case.results and not case.dataset["annotations"] for case in cases)
    assert any(len({one["score"] for one in case.results}) < len(case.results) for case in cases)
    assert any(
        (one["image_id"], one["category_id"]) not in pairs
        for case, pairs in zip(cases, known, strict=True)
        for one in case.results
    )
