"""What every training at paper scale can be told, the paper's recipe adapted to it, and how it is run and recorded."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from accelerate import PartialState
from torch import nn

from bench.progress import progress
from bench.provenance import provenance
from models.errors import BenchError
from models.training.loop import Batches, Stage, seconds_trained, steps_done, train
from models.training.prefetch import Prefetched
from models.training.recipes import Recipe

Precision = Literal["no", "bf16", "fp16"]
AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Settings of a training; the defaults are the paper's."""

    steps: int | None = None
    """Instead of the paper's epochs; the warm-up shrinks in proportion."""
    images_per_step: int | None = None
    """Instead of the paper's; the learning rate follows in proportion, as in the paper."""
    accumulate: int = 1
    """Parts in which each process does its share of a step, to save memory."""
    precision: Precision | None = None
    """Instead of the recipe's bf16."""
    seed: int = 0
    """Of initialisation, order, augmentation, masks and prompts."""
    tracker: Literal["tensorboard", "wandb", "none"] = "none"
    """Where losses are shown while it trains; they are in log.jsonl at any rate."""
    workers: int = 8
    """Processes that read photos, for each training process."""
    out: Path = Path("training")
    """Folder of checkpoints, logs and the finished weights."""


def check(options: TrainingOptions, **more: int | None) -> None:
    """Raise if a number is too small or the tracker is not installed.

    Args:
        options: of any training.
        more: further numbers of at least 1, by the option's name.
    """
    numbers = {"steps": options.steps, "images-per-step": options.images_per_step, "accumulate": options.accumulate}
    for name, value in {**numbers, **more}.items():
        if value is not None and value < 1:
            raise BenchError(f"--{name} must be at least 1, got {value}")
    if options.workers < 0:
        raise BenchError(f"--workers must be at least 0, got {options.workers}")
    if options.tracker != "none" and importlib.util.find_spec(options.tracker) is None:
        raise BenchError(f"--tracker {options.tracker} needs a package: pip install {options.tracker}")


def adapted(recipe: AnyRecipe, options: TrainingOptions, *, images: int, published: int) -> AnyRecipe:
    """Return the paper's recipe for the options given: as many epochs, and the same learning rate for an image.

    Args:
        recipe: of the paper.
        options: how it is changed.
        images: of the data set that is there.
        published: images of the paper's data set.
    """
    batch = options.images_per_step or recipe.images_per_step
    epochs = round(recipe.steps * recipe.images_per_step / published)
    steps = options.steps or max(1, epochs * images // batch)
    return replace(
        recipe,
        steps=steps,
        warmup_steps=steps * recipe.warmup_steps // recipe.steps,
        images_per_step=batch,
        learning_rate=recipe.learning_rate * batch / recipe.images_per_step,
        accumulate=options.accumulate,
        precision=options.precision or recipe.precision,
        seed=options.seed,
    )


Run = Callable[[Path, Callable[[int], None]], object]
"""(folder, advance) -> trains to the end in that folder, going on from its newest checkpoint."""


def shared_loop(
    trainer: nn.Module, stage: Stage, batches: Batches, recipe: Recipe, options: TrainingOptions, processes: int
) -> Run:
    """Return a training by `models.training.loop`, with data read ahead."""
    stop = recipe.steps * recipe.accumulate * processes
    ahead = Prefetched(batches, workers=options.workers, stride=processes, stop=stop)
    trackers = () if options.tracker == "none" else (options.tracker,)
    return lambda folder, advance: train(trainer, stage, ahead, recipe, folder, advance=advance, trackers=trackers)


def train_to_the_end(
    name: str,
    run: Run,
    recipe: Recipe,
    options: TrainingOptions,
    processes: PartialState,
    done: Callable[[Path], int] = steps_done,
) -> dict[str, Any] | None:
    """Train in <out>/<name>, with a progress bar; return how it was made.

    Args:
        name: of the model.
        run: the training.
        recipe: that it follows.
        options: that were given.
        processes: of this training.
        done: tells how many steps a folder's newest checkpoint has done.

    Returns:
        What the record of a training says, on the first process; None on the others.
    """
    folder, made_with = options.out / name, provenance()
    if not processes.is_main_process:
        run(folder, lambda steps: None)
        return None
    with progress(name, total=recipe.steps, unit="steps", done=done(folder)) as advance:
        run(folder, advance)
    return {
        "model": name,
        "command": f"python -m bench {shlex.join(sys.argv[1:])}",
        "recipe": asdict(recipe),
        "processes": processes.num_processes,
        "seconds": seconds_trained(folder),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "made_with": {key: made_with[key] for key in ("git", "versions", "hardware", "threads")},
    }
