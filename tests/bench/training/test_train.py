"""Micro training from end to end at toy size: every stage, and a run that was killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from bench import __main__ as front_door
from bench.training.all import TOGETHER, group_of, schedule, tasks, trainings_of
from bench.training.cost import _detector_layers, dry_run_all
from bench.training.options import Options
from bench.training.runs import ARMS, RUNS
from bench.training.train import train
from models.packaged import packaged_weights
from models.training.detect import detect_stage
from models.training.flops import student_flops
from models.training.recipes import classify, detect, fastsam, masked, promptable, semantic
from protocols.prompts.box_files import MICRO_DETECTOR, MICRO_SEED
from protocols.training_records import read_curves
from tests.bench.training.driver import finish, kill_in_the_middle, start

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = ROOT / "models" / "weights"


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
        f"data cache-features sam-micro {folders}",
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
    assert len(record["probes"]["knn"]) == len(record["correct"])
    assert len(record["probes"]["variance"]) == 8
    curve = read_curves(("efficientsam-ti-micro",), tmp_path / "records")["efficientsam-ti-micro"][0]
    first, last = curve.points.values()
    assert len(first) == len(last) == len(curve.image_id) > 100
    assert not np.array_equal(first, last)


@pytest.mark.overfit
def test_every_micro_training_and_every_ablation_is_one_command_each(cache: Path, tmp_path: Path) -> None:
    """From nothing to all weights and records of seed 0: the second command starts from the committed weights alone."""
    kept = f"--weights {tmp_path}/weights --records {tmp_path}/records"
    finish(start(cache, *f"train --all micro --out {tmp_path}/micro {kept}".split()))
    made = {path.stem for path in (tmp_path / "weights").glob("**/*.safetensors")}
    assert made == {name for name, run in RUNS.items() if run.committed}
    finish(start(cache, *f"train --all ablations --out {tmp_path}/ablations {kept}".split()))
    recorded = {path.stem for path in (tmp_path / "records").glob("*.json")}
    arms = {f"{name}-seed0" for name, arm in ARMS.items() if arm.tables.keys() - {"table1"}}
    rows = {
        "table2-mae-s-seed0",
        "table2-vitdet-scratch-ti-micro-seed0",
        "table3-sami-s-seed0",
        "table3-mask2former-scratch-ti-micro-seed0",
    }
    assert arms | rows <= recorded


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_killed_pretraining_goes_on_to_the_same_weights(cache: Path, tmp_path: Path) -> None:
    """kill -9 in the middle: the resumed run ends in the very bits of the one that was left alone."""

    def command(out: str) -> str:
        return f"train mae-ti-micro --steps 40 --out {tmp_path}/{out} --weights {tmp_path}/{out}-weights"

    killed = start(cache, *command("killed").split())
    log = tmp_path / "killed" / "mae-ti-micro" / "log.jsonl"
    kill_in_the_middle(killed, log, lines=10)
    assert not (tmp_path / "killed" / "mae-ti-micro" / "weights.safetensors").exists()
    finish(start(cache, *f"{command('killed')} then {command('whole')}".split()))
    whole, resumed = (tmp_path / name / "mae-ti-micro" / "weights.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()


class TestTasks:
    def test_every_run_comes_after_those_it_needs(self) -> None:
        todo = tasks(group_of("micro"))
        assert todo["efficientsam-s-micro"].needs == ("sami-s-micro",)
        assert todo["sami-s-micro"].needs == ("features-sam-micro",)
        assert todo["features-sam-micro"].arguments == ("data", "cache-features", "sam-micro")
        assert todo["features-sam-micro"].needs == ("sam-micro",)
        assert todo["mobilesam-micro"].needs == ("sam-micro",)
        assert todo["mae-ti-micro"].needs == ()
        assert set(todo) >= {name for name, run in RUNS.items() if run.committed}

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

    def test_an_arm_is_finished_before_the_next_begins(self) -> None:
        order: list[str] = []
        needs = {"first": (), "first-classify": ("first",), "second": (), "second-classify": ("second",)}
        schedule(needs, order.append, dict.fromkeys(needs, TOGETHER))
        assert order == list(needs)


def test_ablations_are_all_that_leaves_records_alone() -> None:
    wanted = group_of("ablations")
    arms = {(f"{name}-micro-classify", seed) for name, arm in ARMS.items() if arm.tables for seed in (0, 1, 2)}
    of_micro = {(name, 0) for name, run in RUNS.items() if run.committed}
    assert len(wanted) == len(set(wanted)) == 87
    assert arms - of_micro <= set(wanted)
    assert {("efficientsam-s-micro", 2), ("vitdet-mae-s-micro", 0), ("mask2former-sami-ti-micro", 1)} <= set(wanted)
    assert not of_micro & set(wanted)
    assert [seed for _, seed in wanted] == sorted(seed for _, seed in wanted), "every arm has a seed before any has two"


def test_table_5_takes_the_boxes_of_its_micro_detector() -> None:
    assert (f"vitdet-{MICRO_DETECTOR.lower()}-micro", MICRO_SEED) in trainings_of("table5")


def test_every_arm_is_pretrained_and_finetuned_on_an_equal_budget() -> None:
    first = ARMS["mae-ti"].recipe
    for name, arm in ARMS.items():
        if name == "scratch-ti":
            continue
        pretraining, finetuning = RUNS[f"{name}-micro"], RUNS[f"{name}-micro-classify"]
        assert finetuning.start == f"{name}-micro"
        assert pretraining.recipe is arm.recipe
        budget = (arm.recipe.steps, arm.recipe.images_per_step, arm.recipe.learning_rate)
        assert budget == (first.steps, first.images_per_step, first.learning_rate)


def test_a_run_starts_from_a_run_of_its_scale_or_from_public_weights() -> None:
    public = {run.start for run in RUNS.values() if run.start and run.start not in RUNS}
    assert public == {"deit-s", "dino-s", "ibot-s"}
    assert all(RUNS[run.start].scale is run.scale for run in RUNS.values() if run.start in RUNS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train",), "name one training"),
        (("train", "sam-micro", "--all", "micro"), "name one training"),
        (("train", "sam-micro", "--encoder", "x"), "--encoder means nothing to sam-micro: leave it out, it takes"),
        (("train", "sami-ti", "--records", "x"), "--records means nothing to sami-ti"),
        (("train", "mask2former-sami-s", "--accumulate", "2"), "--accumulate means nothing to mask2former-sami-s"),
        (("train", "--all", "micro", "--steps", "3"), "--steps means nothing to --all micro"),
        (("train", "sam-micro", "--gpus", "2"), "add --dry-run, or leave it out"),
        (("train", "sam-micro", "--dry-run", "--gpus", "0"), "--gpus must be at least 1, got 0"),
        (("train", "sami-ti", "--views", "2"), "add --features, or leave it out"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit):
        front_door.main()
    assert said in capsys.readouterr().err


def test_recipes_name_the_trainings_that_follow_them() -> None:
    for module in (classify, detect, fastsam, masked, promptable, semantic):
        commands = re.findall(r"bench train ([\w-]+) ", str(module.__doc__))
        assert commands
        assert all(type(RUNS[name].recipe).__module__ == module.__name__ for name in commands)
        for name, seconds in re.findall(r"bench train ([\w-]+) +([\d,]+) s on", str(module.__doc__)):
            made = json.loads(packaged_weights(name, WEIGHTS).with_suffix(".json").read_text())
            assert made["seconds"] == int(seconds.replace(",", ""))


def test_evaluation_needs_nothing_of_training() -> None:
    modules = ("models.zoo", "models.classifier.cards", "models.vitdet.cards", "models.mask2former.cards")
    tables = ("bench.cli.run", "protocols.table1", "protocols.table2", "protocols.table3")
    code = f"import importlib, sys; [importlib.import_module(m) for m in {modules + tables}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "models.vitdet.build" in loaded
    assert [name for name in loaded if name.startswith(("models.training", "bench.training"))] == []


class TestDryRun:
    """Of every stage, without data, weights or a GPU."""

    @pytest.mark.parametrize(
        "name",
        [
            "sam-micro",
            "mobilesam-micro",
            "sami-ti-micro",
            "mae-s-micro",
            "sami-ti-micro-classify",
            "vitdet-mae-s-micro",
        ],
    )
    def test_it_counts_steps_and_samples(
        self, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
        train(name, Options(dry_run=True, gpus=2, gpu_tflops=1.0, out=tmp_path, weights=tmp_path))
        rows = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:])
        recipe = RUNS[name].recipe
        assert rows["steps"] == f"{recipe.steps:,}"
        assert rows["images the student sees"] == f"{recipe.steps * recipe.images_per_step:,}"
        assert float(rows["student, forward and backward"].split()[0]) > 0
        assert rows["assumed"] == "1 TFLOP/s x 40% utilisation a core"
        assert list(tmp_path.iterdir()) == []

    def test_a_detector_costs_what_a_real_step_does(self) -> None:
        """With as many objects as boxes are sampled inside objects, so that no mask is left out."""
        network = RUNS["vitdet-sami-ti-micro"].build()
        boxes = np.array([[x, y, x + 40, y + 40] for x in (4, 68, 132, 196) for y in (10, 90, 170)], np.float32)
        masks = np.zeros((12, 256, 256), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        target = {"boxes": boxes, "labels": np.ones(12, np.int64), "masks": masks}
        batch = {"images": np.zeros((1, 3, 256, 256), np.uint8), "targets": [target]}
        counted = student_flops(network, _detector_layers, batch)
        assert student_flops(network, detect_stage(), batch) == counted

    def test_a_group_has_a_line_for_each_training_and_a_sum(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        todo = tasks([("mae-ti-micro-classify", 1), ("sami-ti-micro", 0)], have=["sam-micro"])
        dry_run_all("some", todo, Options(dry_run=True))
        lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
        assert {
            "mae-ti-micro-seed1",
            "mae-ti-micro-classify-seed1",
            "features-sam-micro",
            "sami-ti-micro",
        } < lines.keys()
        samples = [int(lines[name][2].replace(",", "")) for name in todo]
        assert samples == [64_000, 16_000, 12_000, 64_000]
        assert int(lines["in"][2].replace(",", "")) == sum(samples)
