"""Micro U²-Net-p's training from end to end at toy size, and what it belongs to."""

from __future__ import annotations

import json
from pathlib import Path

from bench.data.dead_leaves.salient import TRAINING_SEED
from bench.training.all import tasks, trainings_of
from bench.training.runs import RUNS
from models.u2net import cards
from tests.bench.training.driver import finish, start
from tests.models.recipe import image

NAME = "u2netp-micro"


def test_a_training_leaves_weights_that_load_and_says_how_they_were_made(tmp_path: Path) -> None:
    folders = f"--out {tmp_path}/out --weights {tmp_path}/weights --records {tmp_path}/records"
    finish(start(tmp_path / "cache", *f"train {NAME} {folders}".split()))
    weights = tmp_path / "weights" / f"{NAME}.safetensors"
    facts = json.loads(weights.with_suffix(".json").read_text())
    assert facts["command"] == f"python -m bench train {NAME}"
    assert facts["data"] == {"world": "dead leaves with a salient one", "seed": TRAINING_SEED, "images": 8}
    lines = [json.loads(line) for line in (tmp_path / "out" / NAME / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert set(lines[0]) >= {"loss", "fused", "fused_iou", "learning_rate"}
    model = cards.load(NAME, weights)
    assert model.custom
    assert model.saliency(image(40, 60)).shape == (40, 60)


def test_it_is_committed_and_what_table_salient_is_made_of() -> None:
    assert RUNS[NAME].committed
    assert trainings_of("salient") == [(NAME, 0)]
    assert tasks([(NAME, 0)])[NAME].needs == ()
