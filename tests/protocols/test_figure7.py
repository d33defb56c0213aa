import doctest

import numpy as np
import pytest

from protocols import figure7
from protocols.figure7 import EPOCHS
from protocols.results import TableResult
from tests.protocols.fakes import settings
from tests.protocols.training_fakes import write_fake_curve

IMAGES = [int(image) for image in np.repeat(np.arange(40), np.arange(40) % 4 + 1)]


def write(folder, seeds=(0, 1, 2), epochs=EPOCHS, gain=0.04):
    hard = np.random.default_rng(1).normal(0, 0.1, len(IMAGES))
    for seed in seeds:
        noise = np.random.default_rng(seed).normal(0, 0.02, len(IMAGES))
        ious = {e: np.clip(0.6 + gain * np.log10(e / 0.1) + hard + noise, 0, 1).round(4).tolist() for e in epochs}
        write_fake_curve(folder, "efficientsam-ti-micro", seed, ious, IMAGES)
    return ious


def test_examples_in_docstrings_are_true():
    assert doctest.testmod(figure7).failed == 0


def test_a_point_is_the_mean_over_annotations(tmp_path):
    ious = write(tmp_path, seeds=(2,))
    cell = figure7.make(figure7, settings(tmp_path / "runs", records=tmp_path)).cell("1 epoch", "EfficientSAM-Ti")
    assert cell.measured == pytest.approx(np.mean(ious[1.0]))
    assert cell.low < cell.measured < cell.high


def test_the_claimed_gain_is_compared_over_the_same_annotations(tmp_path):
    write(tmp_path)
    found = {
        (c.first, c.second, c.column): c
        for c in figure7.make(figure7, settings(tmp_path / "runs", records=tmp_path)).comparisons
    }
    gain = found["1 epoch", "0.1 epochs", "EfficientSAM-Ti"]
    assert gain.paper == pytest.approx(0.025)
    assert gain.measured == pytest.approx(0.04, abs=2e-3)
    assert gain.verdict == "same order (p < 0.001)"


def test_a_model_without_records_is_untrained_and_the_other_drawn(tmp_path):
    write(tmp_path)
    result = figure7.make(figure7, settings(tmp_path / "runs", records=tmp_path))
    assert result.cell("5 epochs", "EfficientSAM-S").status == "not trained yet"
    assert result.cell("5 epochs", "EfficientSAM-S").paper == pytest.approx(0.769)
    assert result.cell("5 epochs", "EfficientSAM-Ti").status == "measured"


def test_a_seed_that_stopped_early_counts_where_it_came_to(tmp_path):
    write(tmp_path, seeds=(0, 1))
    write(tmp_path, seeds=(2,), epochs=EPOCHS[:3])
    result = figure7.make(figure7, settings(tmp_path / "runs", records=tmp_path))
    assert result.cell("0.1 epochs", "EfficientSAM-Ti").n == 3 * len(IMAGES)
    assert result.cell("5 epochs", "EfficientSAM-Ti").n == 2 * len(IMAGES)
    assert "only 2 of 3 seeds" in result.cell("5 epochs", "EfficientSAM-Ti").why


def test_the_result_survives_json_with_its_axis(tmp_path):
    write(tmp_path)
    result = figure7.make(figure7, settings(tmp_path / "runs", records=tmp_path))
    assert result.to_json()["x"] == EPOCHS
    assert TableResult.from_json(result.to_json()) == result
