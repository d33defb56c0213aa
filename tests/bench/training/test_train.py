"""Micro training from end to end at toy size: every stage, and a run that was killed."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bench.cli.train_all import TOGETHER, schedule, tasks
from models.training.micro import MICRO_RUNS, VARIANTS
from tests.bench.training.driver import finish, kill_in_the_middle, start

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes drawn once for all tests here."""
    return tmp_path_factory.mktemp("cache")


def test_every_stage_goes_on_from_what_the_one_before_left(cache: Path, tmp_path: Path) -> None:
    """SAM, its features, SAMI, the classifier and its record, EfficientSAM and Figure 7, MobileSAM."""
    folders = f"--out {tmp_path}/out --weights {tmp_path}/weights"
    with_records = f"{folders} --records {tmp_path}/records"
    commands = [
        f"train sam-micro {with_records}",
        f"micro-features sam-micro {folders}",
        f"train sami-ti-micro {with_records}",
        f"train sami-ti-micro-classify {with_records}",
        f"train efficientsam-ti-micro {with_records}",
        f"train mobilesam-micro {with_records}",
    ]
    finish(start(cache, *" then ".join(commands).split()))
    made = {path.stem for path in (tmp_path / "weights").glob("*.safetensors")}
    assert made == {command.split()[1] for command in commands if command.startswith("train")}
    encoder = load_file(tmp_path / "weights" / "sami-ti-micro.safetensors")
    assert "cls_token" in encoder
    assert not any(name.startswith("decoder") for name in encoder)
    facts = json.loads((tmp_path / "weights" / "efficientsam-ti-micro.json").read_text())
    assert (facts["start"], facts["command"]) == ("sami-ti-micro", "python -m bench train efficientsam-ti-micro")
    record = json.loads((tmp_path / "records" / "sami-ti-seed0.json").read_text())
    correct = np.unpackbits(np.frombuffer(bytes.fromhex(record["correct"]), np.uint8), count=record["n"])
    assert record["top1"] == pytest.approx(correct.mean())
    assert len(record["curve"]) == len(record["finetune_curve"]) == 8
    points = json.loads((tmp_path / "records" / "figure7-efficientsam-ti-micro-seed0.json").read_text())["points"]
    assert [point["step"] for point in points] == [2, 8]
    assert all(len(point["iou"]) == len(point["image_id"]) > 100 for point in points)
    assert points[0]["iou"] != points[1]["iou"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_killed_pretraining_goes_on_to_the_same_weights(cache: Path, tmp_path: Path) -> None:
    """kill -9 in the middle: the resumed run ends in the very bits of the one that was left alone."""

    def command(out: str) -> list[str]:
        return f"train mae-ti-micro --steps 40 --out {tmp_path}/{out} --weights {tmp_path}/{out}-weights".split()

    finish(start(cache, *command("whole")))
    killed = start(cache, *command("killed"))
    log = tmp_path / "killed" / "mae-ti-micro" / "log.jsonl"
    kill_in_the_middle(killed, log, lines=10)
    assert not (tmp_path / "killed" / "mae-ti-micro" / "weights.safetensors").exists()
    finish(start(cache, *command("killed")))
    whole, resumed = (tmp_path / name / "mae-ti-micro" / "weights.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()


class TestTasks:
    def test_every_run_comes_after_those_it_needs(self) -> None:
        todo = tasks([(name, 0) for name, run in MICRO_RUNS.items() if run.committed])
        assert todo["efficientsam-s-micro"].needs == ("sami-s-micro",)
        assert todo["sami-s-micro"].needs == ("features-sam-micro",)
        assert todo["features-sam-micro"].needs == ("sam-micro",)
        assert todo["mobilesam-micro"].needs == ("sam-micro",)
        assert todo["mae-ti-micro"].needs == ()
        assert set(todo) >= {name for name, run in MICRO_RUNS.items() if run.committed}

    def test_a_seed_has_its_own_pretraining_and_shares_the_teacher(self) -> None:
        todo = tasks([("sami-ti-micro-classify", 2)], have=["sam-micro"])
        assert set(todo) == {"features-sam-micro", "sami-ti-micro-seed2", "sami-ti-micro-classify-seed2"}
        assert todo["sami-ti-micro-classify-seed2"].needs == ("sami-ti-micro-seed2",)
        assert todo["sami-ti-micro-seed2"].arguments == ("train", "sami-ti-micro", "--seed", "2")
        assert todo["features-sam-micro"].needs == ()

    def test_no_more_processes_run_than_there_is_room_for(self) -> None:
        running, most, order = [0], [0], []
        size = {"wide": 2, "a": 1, "b": 1, "c": 1}

        def run(name: str) -> None:
            running[0] += size[name]
            most[0] = max(most[0], running[0])
            time.sleep(0.01)
            running[0] -= size[name]
            order.append(name)

        schedule({"wide": (), "a": ("wide",), "b": ("wide",), "c": ("a", "b")}, run, size)
        assert most[0] <= TOGETHER
        assert (order[0], order[-1], sorted(order)) == ("wide", "c", ["a", "b", "c", "wide"])


def test_every_variant_is_pretrained_and_finetuned() -> None:
    for name, variant in VARIANTS.items():
        pretraining, finetuning = MICRO_RUNS[f"{name}-micro"], MICRO_RUNS[f"{name}-micro-classify"]
        assert finetuning.start == f"{name}-micro"
        assert pretraining.recipe is variant.recipe
        budget = (pretraining.recipe.steps, pretraining.recipe.images_per_step, pretraining.recipe.learning_rate)
        first = VARIANTS["mae-ti"].recipe
        assert budget == (first.steps, first.images_per_step, first.learning_rate)  # equal budgets
