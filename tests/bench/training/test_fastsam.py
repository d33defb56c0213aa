"""FastSAM's training from end to end at toy size: a run that was killed, and one without `ultralytics`."""

from __future__ import annotations

import importlib.util
import json
import signal
from pathlib import Path

import pytest

from bench.data.dead_leaves.training import TRAINING_SEED
from bench.training import all as group
from bench.training.all import run_all, tasks, trainings_of
from bench.training.options import Options
from bench.training.runs import RUNS
from bench.training.train import train
from models import zoo
from models.errors import BenchError
from models.packaged import packaged_weights
from tests.bench.training.driver import finish, kill_in_the_middle, start
from tests.models.recipe import image

NAME = "fastsam-micro"
needs_ultralytics = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="the extra `fastsam` is not installed"
)


@needs_ultralytics
@pytest.mark.faults
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """kill -9 in the middle: the resumed run ends in the very bits of the one that was left alone."""

    def of(out: str) -> str:
        return f"train {NAME} --out {tmp_path}/{out} --weights {tmp_path}/{out}-weights --records {tmp_path}/records"

    killed = start(tmp_path / "cache", *of("killed").split())
    log = tmp_path / "killed" / NAME / "log.jsonl"
    kill_in_the_middle(killed, log, lines=5)
    assert not (tmp_path / "killed-weights").exists()
    finish(start(tmp_path / "cache", *f"{of('killed')} then {of('whole')}".split()))
    whole, resumed = (packaged_weights(NAME, tmp_path / f"{out}-weights") for out in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()
    facts = json.loads(whole.with_suffix(".json").read_text())
    assert facts["command"] == f"python -m bench train {NAME}"
    assert (facts["data"]["world"], facts["data"]["seed"]) == ("dead leaves", TRAINING_SEED)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(8))
    assert set(lines[0]) >= {"loss", "box", "mask", "class", "distribution", "learning_rate", "seconds"}
    made = {path.name for path in (tmp_path / "whole" / NAME).iterdir()}
    assert made == {"checkpoint", "log.jsonl", "weights.json", "weights.safetensors"}
    model = zoo.load(NAME, checkpoint=whole)
    assert model.custom
    assert model.embed([image(40, 60)])[0].features.shape[1:] == (40, 60)


@pytest.fixture
def without_ultralytics(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ultralytics" else found(name))


@pytest.mark.usefixtures("without_ultralytics")
def test_without_the_package_training_says_what_to_install_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r'pip install "efficientsam-bench\[fastsam\]"'):
        train(NAME, Options(out=tmp_path / "out", weights=tmp_path / "weights", records=tmp_path / "records"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("without_ultralytics")
def test_without_the_package_no_run_of_many_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "schedule", lambda *_: pytest.fail("a run began"))
    todo = tasks([("sam-micro", 0), (NAME, 0)])
    with pytest.raises(BenchError, match=r"efficientsam-bench\[fastsam\]"):
        run_all(todo, Options(out=tmp_path, weights=tmp_path, records=tmp_path))


def test_it_is_committed_and_one_of_table_5() -> None:
    assert RUNS[NAME].committed
    assert (NAME, 0) in trainings_of("table5")
    assert (NAME, 0) not in trainings_of("table4")
    assert tasks([(NAME, 0)])[NAME].needs == ()
