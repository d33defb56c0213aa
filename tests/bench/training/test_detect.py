"""`bench train vitdet-...` at toy size: what it leaves, and a run that was killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file

from bench.training import all as group
from bench.training import data
from bench.training.job import Job, prepare
from bench.training.options import Options
from bench.training.runs import RUNS
from bench.training.stages import parts
from models.errors import BenchError
from models.sami.encoder import ViTEncoder
from protocols import table2
from protocols.saved_predictions import read_recordings
from tests.bench.training.driver import finish, kill_in_the_middle
from tests.bench.training.driver import start as start_driver

RUN = "vitdet-sami-ti-micro"
WEIGHTS = Path(__file__).resolve().parents[3] / "models" / "weights"


def start(cache: Path, out: Path) -> subprocess.Popen[str]:
    return start_driver(cache, *f"train {RUN} --steps 9 --out {out} --weights {WEIGHTS}".split())


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_killed_detector_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """kill -9 in the middle: the resumed run ends in the very bits of the one that was left alone."""
    cache = tmp_path / "cache"
    finish(start(cache, tmp_path / "whole"))
    killed = start(cache, tmp_path / "killed")
    log = tmp_path / "killed" / RUN / "log.jsonl"
    kill_in_the_middle(killed, log, lines=5)
    assert not (tmp_path / "killed" / RUN / "weights.safetensors").exists()
    finish(start(cache, tmp_path / "killed"))
    whole, resumed = (tmp_path / name / RUN / "weights.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()
    facts = json.loads(whole.with_suffix(".json").read_text())
    assert facts["start"] == "sami-ti-micro"
    assert facts["data"] == {"world": "dead leaves to detect", "seed": 21, "scenes": 8}
    losses = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"rpn_class", "rpn_box", "class", "box", "mask"} <= losses[0].keys()
    network = RUNS[RUN].build()
    network.load_state_dict(load_file(whole))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What trainings of seeds 0 and 1 leave."""
    root = tmp_path_factory.mktemp("kept")
    (root / "weights").mkdir()
    shutil.copy(WEIGHTS / "sami-ti-micro.safetensors", root / "weights")
    pretrained = root / "out" / "sami-ti-micro-seed1"  # any encoder will do
    pretrained.mkdir(parents=True)
    shutil.copy(WEIGHTS / "sami-ti-micro.safetensors", pretrained / "weights.safetensors")
    folders = f"--out {root}/out --weights {root}/weights --records {root}/records"
    commands = [f"train {RUN} --seed {seed} {folders}" for seed in (0, 1)]
    finish(start_driver(root / "cache", *" then ".join(commands).split()))
    return root


def test_of_a_committed_training_the_weights_are_kept(kept: Path) -> None:
    made = {path.stem for path in (kept / "weights").glob("*.safetensors")}
    assert made == {"sami-ti-micro", RUN}
    assert not (kept / "records" / "table2-sami-ti-seed0.json").exists()


def test_of_a_training_that_is_not_committed_the_answers_are_kept(kept: Path) -> None:
    """What Table 2 needs of it; no weights."""
    record = kept / "records" / "table2-sami-ti-seed1.json"
    facts = json.loads(record.read_text())
    assert (facts["model"], facts["image_ids"], len(facts["curve"])) == (RUN, [1, 2, 3], 8)
    assert json.loads((kept / "weights" / f"{RUN}.json").read_text())["recipe"]["seed"] == 0
    (one,) = read_recordings(
        "table2", table2.VERSION, data_sha256=facts["data"], image_ids=[1, 2, 3], folder=record.parent
    ).values()
    assert one[1].run.image_ids == (1, 2, 3)


def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "DETECTION_SCENES", 4)
    return prepare(RUNS[RUN], Options(out=tmp_path / "out", weights=tmp_path), PartialState(cpu=True))


def test_an_encoder_of_another_width_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(ViTEncoder(embed_dim=48, depth=4, num_heads=4).state_dict(), tmp_path / "sami-ti-micro.safetensors")
    with pytest.raises(BenchError, match=r"the encoder of sami-ti-micro does not fit a ViTDet of 56 x 4: 'pos_embed'"):
        parts(job(tmp_path, monkeypatch))


def test_a_detector_without_its_encoder_says_what_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match=r"no weights of sami-ti-micro at .*bench train sami-ti-micro"):
        job(tmp_path, monkeypatch)


def test_table_2_trains_all_four_detectors_after_their_encoders() -> None:
    todo = group.tasks(group.trainings_of("table2"))
    wanted = {f"vitdet-{name}-micro" for name in ("mae-ti", "sami-ti", "mae-s", "sami-s")}
    assert wanted <= todo.keys()
    others = {f"vitdet-{name}-ti-micro-seed{seed}" for name in ("mae", "sami", "scratch") for seed in (1, 2)}
    assert others == {name for name in todo if name.startswith("vitdet-") and "seed" in name}
    assert all(todo[name].needs == (name.removeprefix("vitdet-"),) for name in wanted)
    recipes = {RUNS[name].recipe for name in wanted}
    assert len(recipes) == 1  # equal budgets


def test_seeds_of_a_detector_differ_in_their_heads_and_start_from_the_pretraining_of_their_own() -> None:
    todo = group.tasks([(RUN, 1)], have=["sami-ti-micro", "sam-micro"])
    assert todo[f"{RUN}-seed1"].arguments == ("train", RUN, "--seed", "1")
    assert todo[f"{RUN}-seed1"].needs == ("sami-ti-micro-seed1",)
    assert list(todo)[-2:] == ["sami-ti-micro-seed1", f"{RUN}-seed1"]
    assert not torch.equal(*(_seeded(seed) for seed in (0, 1)))


def _seeded(seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    weight: torch.Tensor = RUNS[RUN].build().get_parameter("rpn.head.cls_logits.weight")
    return weight
