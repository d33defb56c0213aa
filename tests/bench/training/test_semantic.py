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
from safetensors.torch import load_file

pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from bench import __main__ as front_door
from bench.cli import makers
from bench.cli.micro_runs import WEIGHTS, Job
from bench.cli.semantic_runs import trained_mask2former
from bench.cli.train import export
from bench.cli.train_all import OF_TABLE, tasks
from bench.data.ade20k import open_ade20k
from bench.data.dead_leaves.ade20k import NAMES
from bench.metrics.miou import mean_iou
from models import row_cards
from models.errors import BenchError
from models.mask2former import cards
from models.training.micro import MICRO_RUNS
from tests.bench.training.driver import finish, kill_in_the_middle, start
from tests.bench.data.ade20k_files import scene_pairs, write_ade20k

NAME = "mask2former-mae-ti-micro"


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


def job(tmp_path: Path, **changes) -> Job:
    return Job(NAME, replace(MICRO_RUNS[NAME], **changes), 0, tmp_path, WEIGHTS)


def test_a_pretrained_encoder_of_another_width_is_an_error(tmp_path: Path) -> None:
    wrong = job(tmp_path, start="sami-s-micro")
    with pytest.raises(BenchError, match="the encoder sami-s-micro does not fit the backbone, whose ViT is 4 blocks"):
        trained_mask2former(wrong, wrong.run.build(), processes=1, train_on=True)


def test_the_encoder_must_be_pretrained_first(tmp_path: Path) -> None:
    wanting = replace(job(tmp_path), weights=tmp_path)
    with pytest.raises(BenchError, match=r"no weights of mae-ti-micro .*bench train mae-ti-micro"):
        trained_mask2former(wanting, wanting.run.build(), processes=1, train_on=True)


def test_several_processes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is trained by one process, got 2"):
        trained_mask2former(job(tmp_path), None, processes=2, train_on=True)  # type: ignore[arg-type]


def test_each_run_comes_after_its_committed_encoder() -> None:
    todo = tasks([("mask2former-mae-ti-micro", 1)])
    assert todo["mask2former-mae-ti-micro-seed1"].needs == ("mae-ti-micro",)
    assert {name for name, _ in OF_TABLE["table3"]} == {name for name in MICRO_RUNS if name.startswith("mask2former")}


def test_table_3_measures_what_is_trained_and_says_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command as a user types it, with weights of one row."""
    world = write_ade20k(tmp_path / "world", scene_pairs(3), names=NAMES)
    monkeypatch.setattr(makers, "ade20k_root", lambda: world)
    monkeypatch.setattr(row_cards, "PACKAGED", tmp_path / "weights")
    export(MICRO_RUNS[NAME].build(), tmp_path / "weights" / f"{NAME}.safetensors", {"model": NAME})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["bench", "run", "table3"])
    front_door.main()
    result = json.loads((tmp_path / "reports" / "out" / "table3.json").read_text())
    cells = {cell["row"]: cell for cell in result["cells"]}
    assert (cells["MAE-Ti"]["status"], cells["MAE-Ti"]["n"]) == ("measured", 3)
    photos, model = open_ade20k(world), cards.load(NAME)
    totals = sum(np.stack(model.areas(photo, truth, 17)) for photo, truth in (photos[i] for i in range(3)))
    assert cells["MAE-Ti"]["measured"] == pytest.approx(float(mean_iou(*totals)))
    assert cells["SAMI-Ti"]["status"] == "not trained yet"
    assert "nox -s reproduce_table3 -- --train" in cells["SAMI-Ti"]["why"]
    assert cells["SAMI-B"]["status"] == "no public weights"
    assert result["scale"] == "micro"
    assert "39.0" in capsys.readouterr().out
