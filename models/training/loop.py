"""The training loop every stage shares: Accelerate, one log line a few steps, checkpoints, exact resume.

A batch is a function of its step and a stage draws from a generator seeded by its step, so a run that is killed
and resumed from a checkpoint sees what it would have seen.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import set_seed
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from models.errors import BenchError
from models.files.state_dicts import UNREADABLE, first_line
from models.training.optimizers import optimizers_of, rate_at
from models.training.recipes import PromptableRecipe, Recipe
from models.training.whole import check_runs_nothing, newest_whole, random_states, restore_random_states, seal

LOG_EVERY = 20

Losses = dict[str, Tensor]
"""Named scalars of a step; "loss" is the one that is minimised."""


class Batches(Protocol):
    """Data as a function of the step."""

    def __getitem__(self, step: int, /) -> Any:
        """Return the arrays of one step of one process."""


Stage = Callable[[nn.Module, Any, torch.Generator], Losses]
Progress = Callable[[int], None]
Visit = Callable[[nn.Module, int], None]


def train(
    network: nn.Module,
    stage: Stage,
    batches: Batches,
    recipe: Recipe,
    out: Path,
    *,
    advance: Progress = lambda steps: None,
    train_on: bool = True,
    visits: Mapping[int, Visit] | None = None,
    trackers: Sequence[str] = (),
) -> nn.Module:
    """Train a network to the end of its recipe, resuming from the newest checkpoint in `out`.

    Writes `log.jsonl` (step, losses, learning rate, seconds over all sessions) and `checkpoint/` there. Started with
    `torchrun` or `accelerate launch` it runs on every process.

    Args:
        network: changed in place.
        stage: losses of one batch; draws only from the generator it is given.
        batches: this process's data, indexed by micro-batch.
        recipe: optimiser, schedule, seed.
        out: folder of the run.
        advance: told of steps as they are done, those before a resume left out (`steps_done`); for a progress bar.
        train_on: False loads the newest checkpoint and stops there.
        visits: called with the network, in evaluation mode, after that many steps; again if a run is resumed from
            before them.
        trackers: of Accelerate, "tensorboard" or "wandb", which log what log.jsonl gets.

    Raises:
        BenchError: if the loss is not finite, or there is no checkpoint to stop at.
    """
    accelerator = _accelerator(recipe, out, trackers)
    set_seed(recipe.seed)
    optimizers = optimizers_of(network, recipe)
    schedulers = [LambdaLR(optimizer, lambda step: rate_at(step, recipe)) for optimizer in optimizers]
    model, *optimizers = accelerator.prepare(network, *optimizers)
    done = _resume(accelerator, schedulers, recipe, out)
    if not train_on:
        if not done:
            raise BenchError(f"{out} has no checkpoint: train first")
        return accelerator.unwrap_model(model).eval()
    log = StepLog(out, done) if accelerator.is_main_process else None
    if trackers:
        accelerator.init_trackers(out.name, config=_flat(plain_recipe(recipe)))
    model.train()
    for step in range(done, recipe.steps):
        losses = _step(accelerator, model, stage, batches, optimizers, recipe, step)
        rate = float(schedulers[0].get_last_lr()[0])
        for scheduler in schedulers:
            scheduler.step()
        advance(1)
        if log and (step % LOG_EVERY == 0 or step == recipe.steps - 1):
            log.write(step, losses, rate)
            accelerator.log({**losses, "learning_rate": rate}, step=step)
        if visits and step + 1 in visits and accelerator.is_main_process:
            visits[step + 1](accelerator.unwrap_model(model).eval(), step + 1)
            model.train()
        if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps:
            _save(accelerator, schedulers, recipe, out, step + 1)
    accelerator.end_training()
    return accelerator.unwrap_model(model).eval()


def _accelerator(recipe: Recipe, out: Path, trackers: Sequence[str]) -> Accelerator:
    promptable = isinstance(recipe, PromptableRecipe)  # whose step does not ask for every mask token
    return Accelerator(
        mixed_precision=recipe.precision,
        cpu=not torch.cuda.is_available(),
        log_with=list(trackers) or None,
        project_dir=out,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=promptable)],
    )


def _step(
    accelerator: Accelerator,
    model: nn.Module,
    stage: Stage,
    batches: Batches,
    optimizers: list[Any],
    recipe: Recipe,
    step: int,
) -> dict[str, float]:
    """Do one optimiser step and return its mean losses on this process."""
    sums: dict[str, Tensor] = {}
    for part in range(recipe.accumulate):
        micro = (step * recipe.accumulate + part) * accelerator.num_processes + accelerator.process_index
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + micro)
        with accelerator.autocast():
            losses = stage(model, batches[micro], generator)
        accelerator.backward(losses["loss"] / recipe.accumulate)
        for name, value in losses.items():
            share = value.detach().double() / recipe.accumulate
            sums[name] = sums[name] + share if name in sums else share
    totals = dict(zip(sums, torch.stack(list(sums.values())).tolist(), strict=True))  # one wait for a GPU
    if not math.isfinite(totals["loss"]):
        raise BenchError(
            f"the loss is {totals['loss']} at step {step}: lower the recipe's learning_rate and start again"
        )
    if recipe.clip_norm is not None:
        accelerator.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return totals


def _save(accelerator: Accelerator, schedulers: list[LambdaLR], recipe: Recipe, out: Path, done: int) -> None:
    """Replace the checkpoint by one of `done` steps; the old one stays until the new one is whole."""
    new, current, process = out / "checkpoint.new", out / "checkpoint", accelerator.process_index
    if accelerator.is_main_process:
        shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
    accelerator.wait_for_everyone()
    accelerator.save_state(str(new))
    (new / f"random_states_{process}.pkl").unlink()  # a pickle; the same as JSON:
    (new / _RANDOM.format(process)).write_text(json.dumps(random_states(accelerator.device)))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        states = [scheduler.state_dict() for scheduler in schedulers]
        seal(new, {"done": done, "recipe": plain_recipe(recipe), "schedulers": states})
        old = out / "checkpoint.old"
        if current.exists():
            shutil.rmtree(old, ignore_errors=True)  # left by a process that was killed before removing it
            current.rename(old)
        new.rename(current)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def _resume(accelerator: Accelerator, schedulers: list[LambdaLR], recipe: Recipe, out: Path) -> int:
    """Load the newest whole checkpoint and return the steps it had done, 0 without one.

    Raises:
        BenchError: if it was made by another recipe, or none is whole.
    """
    found = newest_whole(out)
    if found is None:
        return 0
    if accelerator.is_main_process and found.passed_over:
        print(f"{found.passed_over}; going on from {found.folder}", file=sys.stderr)
    state, folder = found.manifest, found.folder
    if state["recipe"] != plain_recipe(recipe):
        raise BenchError(f"{folder} was made by another recipe: name another folder, or move {out} away")
    check_runs_nothing(folder)
    try:
        accelerator.load_state(str(folder))
        for scheduler, its_own in zip(schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(its_own)
        states = folder / _RANDOM.format(accelerator.process_index)
        if states.exists():  # else there are more processes than there were
            restore_random_states(json.loads(states.read_text()), accelerator.device)
    except (*UNREADABLE, SafetensorError) as error:
        raise BenchError(
            f"{folder} is no checkpoint of this network ({first_line(error)}): name another one"
        ) from error
    return int(state["done"])


_RANDOM = "random_states_{}.json"
"""A process's file of random numbers."""


def steps_done(out: Path) -> int:
    """Return how many steps the newest whole checkpoint of a run has done, 0 without one.

    Raises:
        BenchError: if there are checkpoints but none is whole.
    """
    found = newest_whole(out)
    return 0 if found is None else int(found.manifest["done"])


def seconds_trained(out: Path) -> int:
    """Return how long a run has trained up to its last log line, over all its sessions."""
    return round(last_log_line(out).get("seconds", 0))


def last_log_line(out: Path) -> dict[str, Any]:
    """Return the last line of a run's log, empty if it has taken no step."""
    lines = (out / "log.jsonl").read_text().splitlines()
    return dict(json.loads(lines[-1])) if lines else {}


def plain_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as JSON holds it."""
    return dict(json.loads(json.dumps(asdict(recipe))))


def _flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe in the plain values that TensorBoard's table of runs takes."""
    plain = (int, float, str, bool)
    return {name: value if isinstance(value, plain) else json.dumps(value) for name, value in recipe.items()}


class StepLog:
    """Appends one JSON object a line; lines past the checkpoint a run resumes from are dropped."""

    def __init__(self, out: Path, done: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path, self.started, self.first = out / "log.jsonl", time.monotonic(), done
        self.path.touch()
        lines = [
            line for line in self.path.read_text(errors="replace").splitlines(keepends=True) if line.endswith("\n")
        ]
        kept = [line for number, line in enumerate(lines, 1) if self._step(line, number) < done]
        self.path.write_text("".join(kept))
        self.before = json.loads(kept[-1])["seconds"] if kept else 0.0

    def _step(self, line: str, number: int) -> int:
        try:
            entry = json.loads(line)
            float(entry["seconds"])
            return int(entry["step"])
        except (ValueError, TypeError, KeyError) as error:
            raise BenchError(
                f"{self.path}, line {number}: this is no line of a log ({error}): mend or remove the line"
            ) from error

    def write(self, step: int, losses: dict[str, float], rate: float) -> None:
        """Append the line of a step."""
        seconds = time.monotonic() - self.started
        entry = {"step": step, **{k: round(v, 6) for k, v in losses.items()}, "learning_rate": rate}
        with self.path.open("a") as file:
            per_step = round(seconds / max(1, step + 1 - self.first), 4)
            times = {"seconds_per_step": per_step, "seconds": round(self.before + seconds, 1)}
            file.write(json.dumps({**entry, **times}) + "\n")
