"""A run that was killed goes on as if nothing had happened, to the bit."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.training.runs import RUNS
from models.errors import BenchError
from models.packaged import packaged_weights
from models.training import loop
from models.training.loop import seconds_trained, steps_done, train
from models.training.recipes import Recipe
from models.training.whole import seal
from tests.models.hostile import KINDS, hostile

ROOT = Path(__file__).resolve().parents[3]
RECIPE = Recipe(
    steps=12,
    images_per_step=4,
    learning_rate=0.05,
    weight_decay=0.1,
    warmup_steps=3,
    clip_norm=0.5,
    checkpoint_every=5,
    seed=3,
)


class Batches:
    """Batch `step` is points x [N, 3] and what to make of them y [N, 2], float64."""

    def __init__(self, count: int = 4) -> None:
        self.count = count

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        rows = np.arange(step * self.count, (step + 1) * self.count)[:, None]
        x = np.sin(rows * np.array([1.0, 2.0, 3.0]))
        return x, np.stack([x.sum(axis=1), x[:, 0] * x[:, 1]], axis=1)


class Stage:
    """Squared error, with noise from the step's generator; at step `dies_at` a fate is met."""

    def __init__(self, dies_at: int | None = None, noise: float = 0.1, fate: Callable[[], None] | None = None) -> None:
        self.calls, self.dies_at, self.noise, self.fate = 0, dies_at, noise, fate

    def __call__(self, network: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        if self.calls == self.dies_at:
            if self.fate is None:
                raise KeyboardInterrupt
            self.fate()
        self.calls += 1
        x, y = (torch.from_numpy(part) for part in batch)
        noise = self.noise * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        error = ((network(x + noise) - y) ** 2).mean()
        return {"loss": error, "half": error / 2}


def toy(dropout: float = 0.2) -> nn.Module:
    """Return a small network; its dropout draws from torch's own generator."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2)).double()


def run(out: Path, recipe: Recipe = RECIPE, stage: Any = None, **rest: Any) -> nn.Module:
    return train(toy(), stage or Stage(), Batches(), recipe, out, **rest)


def weights(network: nn.Module) -> list[Any]:
    return [p.tolist() for p in network.state_dict().values()]


def log_of(out: Path) -> list[dict[str, float]]:
    """Return the log without times."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    for line in lines:
        assert line.pop("seconds_per_step") >= 0
        assert line.pop("seconds") >= 0
    return lines


@pytest.fixture(autouse=True)
def _log_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)


class TestArithmetic:
    def test_a_run_is_a_plain_loop_over_adamw(self, tmp_path: Path) -> None:
        """Warm-up, linear decay, clipping and decay of matrices alone, written out."""
        network, batches, stage = toy(dropout=0), Batches(), Stage()
        groups: list[dict[str, Any]] = [
            {"params": [p for p in network.parameters() if p.ndim == 2], "weight_decay": 0.1},
            {"params": [p for p in network.parameters() if p.ndim == 1], "weight_decay": 0},
        ]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999))
        for step in range(12):
            rate = step / 3 if step < 3 else 1 - (step - 3) / 9
            for group in optimizer.param_groups:
                group["lr"] = 0.05 * rate
            optimizer.zero_grad()
            generator = torch.Generator().manual_seed(3 * 1_000_003 + step)
            stage(network, batches[step], generator)["loss"].backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.step()
        trained = train(toy(dropout=0), Stage(), batches, RECIPE, tmp_path)
        assert weights(trained) == weights(network)

    def test_muon_takes_the_matrices_of_linear_layers_and_adamw_the_rest(self, tmp_path: Path) -> None:
        network, batches, stage = toy(dropout=0), Batches(), Stage()
        matrices = [p for p in network.parameters() if p.ndim == 2]
        others = [p for p in network.parameters() if p.ndim == 1]
        muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        adamw = torch.optim.AdamW(others, lr=0.05, weight_decay=0)
        for step in range(12):
            rate = step / 3 if step < 3 else 1 - (step - 3) / 9
            muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"] = 0.02 * rate, 0.05 * rate
            generator = torch.Generator().manual_seed(3 * 1_000_003 + step)
            stage(network, batches[step], generator)["loss"].backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            for optimizer in (muon, adamw):
                optimizer.step()
                optimizer.zero_grad()
        recipe = replace(RECIPE, muon_learning_rate=0.02)
        assert weights(train(toy(dropout=0), Stage(), batches, recipe, tmp_path)) == weights(network)

    def test_a_run_with_muon_resumes_to_the_same_bits(self, tmp_path: Path) -> None:
        recipe = replace(RECIPE, muon_learning_rate=0.02)
        straight = weights(run(tmp_path / "straight", recipe))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "resumed", recipe, Stage(dies_at=7))
        assert weights(run(tmp_path / "resumed", recipe)) == straight

    def test_visits_see_the_network_after_their_steps(self, tmp_path: Path) -> None:
        seen: dict[int, tuple[bool, list[Any]]] = {}

        def look(network: nn.Module, step: int) -> None:
            seen[step] = network.training, weights(network)

        trained = run(tmp_path / "long", visits={4: look, 12: look})
        assert {step: training for step, (training, _) in seen.items()} == {4: False, 12: False}
        assert seen[12][1] == weights(trained)
        assert seen[4][1] != seen[12][1]
        assert weights(run(tmp_path / "unseen")) == weights(trained)

    def test_a_run_killed_at_its_last_visit_makes_it_again(self, tmp_path: Path) -> None:
        """The checkpoint of a step is written after its visit, so no visit can be lost between the two."""
        seen: list[int] = []

        def dies(network: nn.Module, step: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, visits={12: dies})
        run(tmp_path, visits={12: lambda network, step: seen.append(step)})
        assert seen == [12]

    def test_seconds_add_up_over_sessions(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter(range(1000))
        monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))  # a second between two looks
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, stage=Stage(dies_at=7))
        run(tmp_path)
        lines = [json.loads(line)["seconds"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert lines == [float(step + 1) for step in range(12)]
        assert seconds_trained(tmp_path) == 12

    def test_two_half_batches_are_a_whole_one(self, tmp_path: Path) -> None:
        whole = train(toy(0), Stage(noise=0), Batches(4), RECIPE, tmp_path / "whole")
        halves = train(toy(0), Stage(noise=0), Batches(2), replace(RECIPE, accumulate=2), tmp_path / "halves")
        for one, other in zip(whole.parameters(), halves.parameters(), strict=True):
            assert other.detach().numpy() == pytest.approx(one.detach().numpy(), rel=1e-9, abs=1e-12)
        for first, second in zip(log_of(tmp_path / "whole"), log_of(tmp_path / "halves"), strict=True):
            assert second == pytest.approx(first, abs=1.1e-6)  # the log has six decimals

    @pytest.mark.parametrize("name", [name for name, run in RUNS.items() if run.committed])
    def test_recipes_of_committed_weights_are_those_they_were_trained_with(self, name: str) -> None:
        recorded = json.loads(packaged_weights(name).with_suffix(".json").read_text())["recipe"]
        recipe = loop.plain_recipe(RUNS[name].recipe)
        assert {key: recipe[key] for key in recorded} == recorded
        assert recipe["warmup_ahead"] == 1
        if "padding" in recipe:
            assert (recipe["padding"], recipe["decayed"], recipe["layer_decay"]) == ([128] * 3, "matrices", None)
        assert recipe.get("backbone_norms_decay", True)

    def test_a_training_of_no_steps_leaves_the_network_as_it_started(self, tmp_path: Path) -> None:
        started = toy(dropout=0)
        before = weights(started)
        recipe = replace(RECIPE, steps=0, warmup_steps=0)
        assert weights(train(started, Stage(), Batches(), recipe, tmp_path)) == before
        assert loop.last_log_line(tmp_path) == {}
        assert loop.seconds_trained(tmp_path) == 0

    def test_the_log_tells_losses_and_the_rate_each_step_was_made_with(self, tmp_path: Path) -> None:
        run(tmp_path)
        log = log_of(tmp_path)
        assert [line["step"] for line in log] == list(range(12))
        assert all(line["half"] == pytest.approx(line["loss"] / 2, abs=1e-6) for line in log)
        assert [line["learning_rate"] for line in log[:4]] == pytest.approx([0, 0.05 / 3, 0.1 / 3, 0.05])
        assert log[-1]["learning_rate"] == pytest.approx(0.05 / 9)

    def test_the_log_has_every_twentieth_step_and_the_last(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "LOG_EVERY", 5)
        run(tmp_path)
        assert [line["step"] for line in log_of(tmp_path)] == [0, 5, 10, 11]

    def test_the_network_learns_and_comes_back_ready_to_use(self, tmp_path: Path) -> None:
        network = run(tmp_path, replace(RECIPE, steps=60))
        log = log_of(tmp_path)
        assert np.mean([line["loss"] for line in log[-10:]]) < 0.6 * np.mean([line["loss"] for line in log[:10]])
        assert not network.training


class TestResumed:
    @pytest.fixture
    def straight(self, tmp_path: Path) -> tuple[list[Any], list[dict[str, float]]]:
        return weights(run(tmp_path / "straight")), log_of(tmp_path / "straight")

    @pytest.mark.parametrize("dies_at, goes_on_from", [(3, 0), (5, 5), (7, 5), (11, 10)])
    def test_an_interrupted_run_ends_like_one_that_was_not(
        self, tmp_path: Path, straight: tuple[list[Any], list[Any]], dies_at: int, goes_on_from: int
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "resumed", stage=Stage(dies_at=dies_at))
        assert steps_done(tmp_path / "resumed") == goes_on_from
        advances: list[int] = []
        network = run(tmp_path / "resumed", advance=advances.append)
        assert advances == [1] * (12 - goes_on_from)
        assert (weights(network), log_of(tmp_path / "resumed")) == straight

    def test_log_lines_past_the_checkpoint_are_dropped(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, stage=Stage(dies_at=8))
        assert [line["step"] for line in log_of(tmp_path)] == list(range(8))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, stage=Stage(dies_at=1))
        assert [line["step"] for line in log_of(tmp_path)] == list(range(6))

    def test_a_torn_last_line_of_the_log_is_dropped(
        self, tmp_path: Path, straight: tuple[list[Any], list[Any]]
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "torn", stage=Stage(dies_at=8))
        log = tmp_path / "torn" / "log.jsonl"
        log.write_text(log.read_text() + '{"step": 8, "lo')
        assert (weights(run(tmp_path / "torn")), log_of(tmp_path / "torn")) == straight

    def test_a_finished_run_is_not_trained_again(self, tmp_path: Path) -> None:
        first, log = weights(run(tmp_path)), log_of(tmp_path)
        assert weights(run(tmp_path, stage=Stage(dies_at=0))) == first
        assert log_of(tmp_path) == log

    def test_the_newest_checkpoint_can_be_had_without_training_on(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, stage=Stage(dies_at=7))
        loaded = run(tmp_path, stage=Stage(dies_at=0), train_on=False)
        assert weights(loaded) != weights(toy())
        assert [line["step"] for line in log_of(tmp_path)] == list(range(7))

    def test_without_a_checkpoint_there_is_nothing_to_be_had(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match=r"has no checkpoint: train first"):
            run(tmp_path, train_on=False)

    def test_a_run_of_another_recipe_is_refused(self, tmp_path: Path) -> None:
        run(tmp_path)
        with pytest.raises(BenchError, match=r"was made by another recipe: name another folder, or move .* away"):
            run(tmp_path, replace(RECIPE, learning_rate=0.04))

    def test_one_checkpoint_is_kept(self, tmp_path: Path) -> None:
        run(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "log.jsonl"]
        assert json.loads((tmp_path / "checkpoint" / "step.json").read_text())["done"] == 12

    @pytest.mark.parametrize("broken", [math.nan, math.inf])
    def test_a_loss_that_is_no_number_stops_the_run_before_the_weights_are_spoilt(
        self, tmp_path: Path, broken: float
    ) -> None:
        def stage(network: nn.Module, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
            losses = healthy(network, batch, generator)
            return {"loss": losses["loss"] * (broken if healthy.calls > 7 else 1)}

        healthy, network = Stage(), toy()
        with pytest.raises(BenchError, match=rf"the loss is {broken} at step 7: .*learning_rate"):
            train(network, stage, Batches(), RECIPE, tmp_path)
        assert all(torch.isfinite(p).all() for p in network.parameters())
        assert json.loads((tmp_path / "checkpoint" / "step.json").read_text())["done"] == 5


# Runs of the process below are killed by SIGKILL at these moments; the second checkpoint is of ten steps.
MOMENTS = {
    "in a step": 5,
    "before the state is written": 5,
    "before the state is whole": 5,
    "between the renames": 5,
    "before the old one is removed": 10,
}
"""How many steps are done already when the process is started again."""
WORKER = """
import importlib.util, json, os, pathlib, shutil, signal, sys
spec = importlib.util.spec_from_file_location("cases", sys.argv[1])
cases = importlib.util.module_from_spec(spec)
sys.modules["cases"] = cases
spec.loader.exec_module(cases)
from accelerate import Accelerator
from models.training import loop
loop.LOG_EVERY = 1
root = pathlib.Path(sys.argv[2])

def kill(*rest, **named):
    os.kill(os.getpid(), signal.SIGKILL)

def second_time(real, fate, after=False):
    calls = []
    def wrapped(*rest, **named):
        calls.append(1)
        if len(calls) > 1 and not after:
            fate()
        result = real(*rest, **named)
        if len(calls) > 1:
            fate()
        return result
    return wrapped

def into_place(path, target):
    if path.name == "checkpoint.new" and (target.parent / "checkpoint.old").exists():
        kill()
    return rename(path, target)

rename = pathlib.Path.rename
save_state = Accelerator.save_state

def prepare(moment):
    if moment == "before the state is written":
        Accelerator.save_state = second_time(save_state, kill)
    if moment == "before the state is whole":
        Accelerator.save_state = second_time(save_state, kill, after=True)
    if moment == "between the renames":
        pathlib.Path.rename = into_place
    if moment == "before the old one is removed":
        shutil.rmtree = lambda path, **named: path.exists() and kill()

def work(out, moment):
    prepare(moment)
    stage = cases.Stage(dies_at=7 if moment == "in a step" else None, fate=kill)
    began = cases.steps_done(out)
    network = cases.run(out, stage=stage)
    end = {"began": began, "weights": cases.weights(network), "log": cases.log_of(out)}
    (out / "end.json").write_text(json.dumps(end))

def in_child(*arguments):
    child = os.fork()
    if child == 0:
        work(*arguments)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

work(root / "straight", None)  # also loads, once for all, what torch and accelerate load late
for moment in sys.argv[3:]:
    print(in_child(root / moment, moment), in_child(root / moment, None))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are made by fork")
class TestKilled:
    @pytest.fixture(scope="class")
    def ends(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return a folder with one run a moment, killed there and started again, and one straight run."""
        root = tmp_path_factory.mktemp("killed")
        done = subprocess.run(
            [sys.executable, "-c", WORKER, __file__, str(root), *MOMENTS],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == ["-9", "0"] * len(MOMENTS), done.stderr
        return root

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_a_killed_run_ends_like_one_that_was_not(self, ends: Path, moment: str) -> None:
        killed, straight = (cast(dict, json.loads((ends / n / "end.json").read_text())) for n in (moment, "straight"))
        assert (killed.pop("began"), straight.pop("began")) == (MOMENTS[moment], 0)
        assert killed == straight
        assert {path.name for path in (ends / moment).iterdir()} == {"checkpoint", "log.jsonl", "end.json"}


FILES = ("model.safetensors", "optimizer.bin", "random_states_0.json", "step.json")
"""Of a checkpoint, all of them."""
DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
    "longer": lambda content: content + b"\0",
    **{
        f"flipped at {share:.0%}": lambda content, share=share: flipped(content, int(share * (len(content) - 1)))
        for share in (0, 0.2, 0.5, 0.8, 0.99)
    },
}


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


class TestDamaged:
    @pytest.fixture(scope="class")
    def half(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return a run that was stopped after the checkpoint of five steps."""
        out = tmp_path_factory.mktemp("half") / "run"
        with pytest.raises(KeyboardInterrupt):
            run(out, stage=Stage(dies_at=7))
        return out

    @pytest.fixture
    def out(self, half: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(half, tmp_path / "run"))

    def test_a_checkpoint_has_no_pickle_but_the_optimiser_s_tensors(self, half: Path) -> None:
        assert sorted(path.name for path in (half / "checkpoint").iterdir()) == sorted(FILES)
        torch.load(half / "checkpoint" / "optimizer.bin", weights_only=True)

    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_damaged_file_is_named_and_nothing_is_trained(self, out: Path, name: str, damage: str) -> None:
        path = out / "checkpoint" / name
        content = DAMAGE[damage](path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)
        before = (out / "log.jsonl").read_bytes()
        for ask in (lambda: run(out), lambda: steps_done(out), lambda: run(out, train_on=False)):
            with pytest.raises(BenchError, match=rf"{name}' is not as it was written .*: restore it"):
                ask()
        assert (out / "log.jsonl").read_bytes() == before

    def test_the_one_before_is_taken_with_a_word(self, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        straight = weights(run(out.with_name("straight")))
        shutil.copytree(out / "checkpoint", out / "checkpoint.old")
        path = out / "checkpoint" / "model.safetensors"
        path.write_bytes(flipped(path.read_bytes(), path.stat().st_size - 3))
        assert steps_done(out) == 5
        assert weights(run(out)) == straight
        assert "model.safetensors' is not as it was written" in capsys.readouterr().err

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", ["optimizer.bin", "scaler.pt", "custom_checkpoint_0.pkl", "random_states_0.pkl"])
    def test_a_sealed_checkpoint_that_asks_to_run_code_does_not(self, out: Path, name: str, kind: str) -> None:
        """Whoever makes a folder can make its manifest, too."""
        evil, asks = hostile(out / "ran")[kind]
        torch.save(evil, out / "checkpoint" / name)
        facts = check_whole_but_files(out / "checkpoint")
        seal(out / "checkpoint", facts)
        with pytest.raises(BenchError, match=rf"{name}' asks to run code as it is read \({asks}"):
            run(out)
        assert not (out / "ran").exists()

    @pytest.mark.parametrize("states", ["{}", "[]", '{"python": [3, [1], null]}', "null"])
    def test_random_states_of_something_else_are_refused(self, out: Path, states: str) -> None:
        (out / "checkpoint" / "random_states_0.json").write_text(states)
        seal(out / "checkpoint", check_whole_but_files(out / "checkpoint"))
        with pytest.raises(BenchError, match="is no checkpoint of this network"):
            run(out)

    def test_a_checkpoint_of_another_network_is_refused(self, out: Path) -> None:
        with pytest.raises(BenchError, match="is no checkpoint of this network"):
            train(nn.Linear(3, 2).double(), Stage(), Batches(), RECIPE, out)

    @pytest.mark.parametrize("line", ["", "nonsense", '{"step": 1}', "[]", '{"step": "x", "seconds": 1}'])
    def test_a_damaged_line_of_the_log_is_named(self, out: Path, line: str) -> None:
        log = out / "log.jsonl"
        log.write_text("\n".join([line, *log.read_text().splitlines()[1:]]) + "\n")
        with pytest.raises(BenchError, match=r"log\.jsonl, line 1: this is no line of a log"):
            run(out)


def check_whole_but_files(folder: Path) -> dict[str, Any]:
    """Return what a manifest says besides hashes."""
    content = json.loads((folder / "step.json").read_text())
    return {name: content[name] for name in ("done", "recipe", "schedulers")}


def test_an_old_checkpoint_alone_is_resumed_from(tmp_path: Path) -> None:
    straight = weights(run(tmp_path / "straight"))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "old", stage=Stage(dies_at=7))
    (tmp_path / "old" / "checkpoint").rename(tmp_path / "old" / "checkpoint.old")
    assert steps_done(tmp_path / "old") == 5
    assert weights(run(tmp_path / "old")) == straight


def test_without_its_checkpoint_a_run_begins_again(tmp_path: Path) -> None:
    straight = weights(run(tmp_path))
    shutil.rmtree(tmp_path / "checkpoint")
    assert weights(run(tmp_path)) == straight
    assert [line["step"] for line in log_of(tmp_path)] == list(range(12))
