"""Differences over several trainings, where the number is no mean over images."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bench.metrics.interval import Interval
from bench.metrics.random_effects import RandomEffectsMean
from protocols import comparisons
from protocols.results import Column, Row
from protocols.scores import Scores

AP = Column("ap_box", "AP box", "COCO")
IMAGES = 40


def scores(value: float, noise: int = 0) -> Scores:
    draws = (
        value + 0.01 * np.random.default_rng(0).normal(size=200) + 0.001 * np.random.default_rng(noise).normal(size=200)
    )
    return Scores({"ap_box": Interval(value, value - 0.02, value + 0.02, IMAGES)}, draws)


def difference(first: Scores, second: Scores) -> dict[str, Interval]:
    value = first.intervals["ap_box"].value - second.intervals["ap_box"].value
    return {"ap_box": Interval(value, value - 0.01, value + 0.01, IMAGES)}


def sampled(one: Scores) -> dict[str, comparisons.Sampled]:
    return {"ap_box": comparisons.Sampled(one.intervals["ap_box"].value, one.basis, IMAGES)}


def over_trainings(first: list[Scores], second: list[Scores], column: str) -> RandomEffectsMean:
    return comparisons.of_statistics([sampled(one)[column] for one in first], [sampled(one)[column] for one in second])


TABLE = SimpleNamespace(
    NAME="table2",
    COMPARED=(("SAMI-Ti", "MAE-Ti"), ("SAMI-Ti", "a control that is not shown")),
    compare=difference,
    over_trainings=over_trainings,
)
PLAN = SimpleNamespace(rows=(Row("SAMI-Ti", None), Row("MAE-Ti", None)), subjects=())


def compare(of_seeds):
    (found,) = comparisons.over_seeds(TABLE, SimpleNamespace(scores=of_seeds, columns=(AP,), plan=PLAN))
    return found


def test_several_seeds_of_both_are_averaged_with_a_p_value() -> None:
    found = compare(
        {"SAMI-Ti": {0: scores(0.30), 1: scores(0.32), 2: scores(0.9)}, "MAE-Ti": {0: scores(0.2), 1: scores(0.21)}}
    )
    assert found.paper == pytest.approx(0.068)
    assert found.measured == pytest.approx(0.105), "the seed that only one row has is left out"
    assert "2 seeds" in found.verdict
    assert found.low < 0.1 < 0.11 < found.high


def test_seeds_that_disagree_decide_nothing() -> None:
    found = compare({"SAMI-Ti": {0: scores(0.30), 1: scores(0.20)}, "MAE-Ti": {0: scores(0.2), 1: scores(0.29)}})
    assert found.verdict.startswith("not decided (p = ")


def test_one_seed_is_compared_over_images() -> None:
    found = compare({"SAMI-Ti": {0: scores(0.30), 1: scores(0.4)}, "MAE-Ti": {0: scores(0.2)}})
    assert (found.measured, found.verdict) == (pytest.approx(0.1), "same order (1 training each)")


def test_a_row_without_scores_is_not_measured() -> None:
    assert compare({"SAMI-Ti": {0: scores(0.3)}}).verdict == "not measured"


def test_notes_name_what_each_training_gave() -> None:
    notes = list(
        comparisons.seed_notes([AP], {"SAMI-Ti": {1: scores(0.25), 0: scores(0.3)}, "MAE-Ti": {0: scores(0.2)}})
    )
    assert notes[0] == "SAMI-Ti, by training seed 0, 1: COCO AP box 30.0, 25.0"
    assert notes[1] == comparisons.METHOD_OF_STATISTICS
    assert not any("MAE-Ti" in note for note in notes)
