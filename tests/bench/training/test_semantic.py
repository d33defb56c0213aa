"""The semantic stage from end to end at toy size: a run that was killed, and encoders that do not fit."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from accelerate import PartialState
from safetensors.torch import load_file

pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from bench import __main__ as front_door
from bench.data.ade20k import open_ade20k
from bench.data.dead_leaves.ade20k import NAMES
from bench.metrics.miou import mean_iou
from bench.training import data
from bench.training.all import tasks, trainings_of
from bench.training.job import Job, prepare
from bench.training.options import Options
from bench.training.runs import RUNS
from bench.training.stages import parts
from bench.training.train import export
from models import row_cards
from models.errors import BenchError
from models.mask2former import cards
from models.sami.build import micro_autoencoder
from protocols import table3
from tests.bench.data.ade20k_files import scene_pairs, write_ade20k
from tests.bench.training.driver import finish, kill_in_the_middle, start

NAME = "mask2former-mae-ti-micro"
WEIGHTS = Path(__file__).resolve().parents[3] / "models" / "weights"


@pytest.mark.faults
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """kill -9 in the middle: the resumed run ends in the very bits of the one that was left alone."""
    weights = tmp_path / "weights"
    weights.mkdir()
    shutil.copy(WEIGHTS / "mae-ti-micro.safetensors", weights)

    def command(out: str) -> str:
        return f"train {NAME} --steps 10 --out {tmp_path}/{out} --weights {weights} --records {tmp_path}/records"

    killed = start(tmp_path / "cache", *command("killed").split())
    log = tmp_path / "killed" / NAME / "log.jsonl"
    kill_in_the_middle(killed, log, lines=5)
    finish(start(tmp_path / "cache", *f"{command('killed')} then {command('whole')}".split()))
    whole, resumed = (tmp_path / out / NAME / "weights.safetensors" for out in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()
    facts = json.loads(whole.with_suffix(".json").read_text())
    assert (facts["start"], facts["data"]["world"]) == ("mae-ti-micro", "dead leaves as ADE20K")
    assert facts["last_log_line"]["step"] == 9
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == list(range(10))
    model = cards.load(NAME, whole)
    assert model.custom
    half = load_file(whole)["backbone.pos_embed"]
    assert (model.network.state_dict()["backbone.pos_embed"].half() == half).all()


def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Path = WEIGHTS, **changes: str) -> Job:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "SEMANTIC_SCENES", 4)
    options = Options(out=tmp_path, weights=weights)
    return prepare(replace(RUNS[NAME], **changes), options, PartialState(cpu=True))


def test_a_pretrained_encoder_of_another_width_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wider = micro_autoencoder("s", decoder="masked", target_dim=96)
    export(wider, tmp_path / "sami-s-micro" / "weights.safetensors", {})
    wrong = job(tmp_path, monkeypatch, start="sami-s-micro")
    with pytest.raises(BenchError, match="the encoder sami-s-micro does not fit the backbone, whose ViT is 4 blocks"):
        parts(wrong)


def test_the_encoder_must_be_pretrained_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match=r"no weights of mae-ti-micro .*bench train mae-ti-micro"):
        job(tmp_path, monkeypatch, weights=tmp_path)


def test_each_run_comes_after_its_committed_encoder() -> None:
    todo = tasks([("mask2former-mae-ti-micro", 1)])
    assert todo["mask2former-mae-ti-micro-seed1"].needs == ("mae-ti-micro-seed1",)
    assert {name for name, _ in trainings_of("table3")} == {
        n for n in RUNS if n.startswith("mask2former") and "micro" in n
    }


def test_table_3_measures_what_is_trained_and_says_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command as a user types it, with weights of one row."""
    world = write_ade20k(tmp_path / "world", scene_pairs(3), names=NAMES)
    monkeypatch.setattr(table3, "micro_root", lambda: world)
    monkeypatch.setattr(row_cards, "PACKAGED", tmp_path / "weights")
    export(RUNS[NAME].build(), tmp_path / "weights" / f"{NAME}.safetensors", {"model": NAME})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["bench", "run", "table3"])
    front_door.main()
    result = json.loads((tmp_path / "reports" / "out" / "table3.json").read_text())
    cells = {cell["row"]: cell for cell in result["cells"]}
    assert (cells["MAE-Ti"]["status"], cells["MAE-Ti"]["n"]) == ("measured", 3)
    photos, model = open_ade20k(world), cards.load(NAME)
    totals = sum(np.stack(model.areas(photo, truth, 5)) for photo, truth in (photos[i] for i in range(3)))
    assert cells["MAE-Ti"]["measured"] == pytest.approx(float(mean_iou(*totals)))
    assert cells["SAMI-Ti"]["status"] == "not trained yet"
    assert "nox -s reproduce_table3 -- --train" in cells["SAMI-Ti"]["why"]
    assert cells["SAMI-B"]["status"] == "no public weights"
    assert result["scale"] == "micro"
    assert "39.0" in capsys.readouterr().out
