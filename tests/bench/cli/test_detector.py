"""`bench train-detector` with a small network in place of the full one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import detector
from bench.cli.detector import train_detector
from models.errors import BenchError
from models.training.micro import ENCODERS
from models.training.recipes import DETECT_PAPER
from models.vitdet.build import vitdet_micro
from models.vitdet.checkpoint import read_detector
from tests.bench.test_detection_training import lay_out

ENCODER = Path(__file__).resolve().parents[3] / "models" / "weights" / "sami-ti-micro.safetensors"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of 64 px, in full precision."""

    def build(size: str, *, classes: int, drop_path: float) -> Any:
        assert (size, drop_path) == ("ti", DETECT_PAPER.drop_path)
        return vitdet_micro(ENCODERS["ti"], classes=classes, img_size=64)

    monkeypatch.setattr(detector, "vitdet", build)
    monkeypatch.setattr(detector, "DETECT_PAPER", replace(DETECT_PAPER, image_size=64))


def test_it_trains_on_coco_and_leaves_weights_and_how_they_were_made(small: None, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"steps": 2, "images_per_step": 2, "precision": "no", "workers": 0}
    train_detector("vitdet-sami-ti", ENCODER, lay_out(tmp_path / "data"), tmp_path / "out", **arguments)
    folder = tmp_path / "out" / "vitdet-sami-ti"
    facts = json.loads((folder / "weights.json").read_text())
    assert facts["photos"] == {"used": 2, "without_objects": 2}
    assert (facts["recipe"]["steps"], facts["recipe"]["learning_rate"]) == (2, 2e-4)
    state = read_detector(folder / "weights.safetensors", None)
    vitdet_micro(ENCODERS["ti"], classes=2, img_size=64).load_state_dict(state)


def test_the_recipe_is_section_4_1_s() -> None:
    recipe = DETECT_PAPER
    assert (recipe.learning_rate, recipe.weight_decay, recipe.images_per_step) == (2e-4, 0.1, 64)
    assert (recipe.betas, recipe.schedule, recipe.image_size) == ((0.9, 0.999), "cosine", 1024)
    assert recipe.steps == 10 * recipe.warmup_steps == 100 * (118_287 // 64)
    assert recipe.jitter == (0.1, 2.0)


def test_a_micro_model_and_an_absent_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    with pytest.raises(BenchError, match=r"micro model: run `python -m bench train vitdet-mae-ti-micro`"):
        train_detector("vitdet-mae-ti-micro", ENCODER)
    with pytest.raises(BenchError, match="BENCH_DATA is not set"):
        train_detector("vitdet-sami-ti", ENCODER)
    with pytest.raises(BenchError, match=r"train2017\.json is not there"):
        train_detector("vitdet-sami-ti", ENCODER, tmp_path)
