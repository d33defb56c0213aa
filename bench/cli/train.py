"""`bench train MODEL`: train a micro model and write its weights with the record of how they were made."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import tyro
from accelerate import PartialState
from safetensors.torch import save_file
from torch import nn

from bench.data.dead_leaves.training import TRAINING_SEED, MaskBatches, training_scenes
from bench.env import ENV
from bench.progress import progress
from bench.provenance import provenance
from models import zoo
from models.engine import exact_engine
from models.errors import BenchError, unknown_name
from models.training.distill import EncoderTrainer, distill_stage
from models.training.loop import train as train_network
from models.training.micro import MICRO_RUNS, SCENES, MicroRun
from models.training.patches import start_from_cosines, start_from_waves
from models.training.promptable import PromptableTrainer, promptable_stage
from models.training.recipes import PromptableRecipe

WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "weights"


def train(
    model: tyro.conf.Positional[str],
    /,
    out: Path = Path("training"),
    weights: Path = WEIGHTS,
    steps: int | None = None,
    export_only: bool = False,
) -> None:
    """Train a micro model on dead leaves, on as many threads as OMP_NUM_THREADS says.

    Under `torchrun -m bench train` the images of a step are shared among the processes. Goes on from its newest checkpoint. At the end writes <weights>/<model>.safetensors (half precision) and .json
    (command, seed, data, time, hash). `nox -s train_micro` trains all of them.

    Args:
        model: sam-micro, efficientsam-s-micro, efficientsam-ti-micro or mobilesam-micro.
        out: Folder of checkpoints and logs.
        weights: Folder of the finished weights.
        steps: Fewer steps than the recipe's, to try things.
        export_only: Write the weights of the newest checkpoint without training on.
    """
    if model not in MICRO_RUNS:
        raise unknown_name("micro model", model, MICRO_RUNS)
    run, folder = MICRO_RUNS[model], out / model
    recipe = run.recipe if steps is None else replace(run.recipe, steps=steps)
    run = replace(run, recipe=recipe)
    engine, made_with = exact_engine(), provenance()
    processes = PartialState(cpu=not torch.cuda.is_available())
    torch.manual_seed(recipe.seed)
    network = run.build()
    with processes.local_main_process_first():  # the others find the scenes drawn
        trainer, stage, batches = _stage(run, network, weights, share=processes.num_processes)
    started = time.monotonic()
    if processes.is_main_process:
        with progress(model, total=recipe.steps, unit="steps") as advance:
            train_network(trainer, stage, batches, recipe, folder, advance=advance, train_on=not export_only)
    else:
        train_network(trainer, stage, batches, recipe, folder, train_on=not export_only)
        return
    record = {
        "model": model,
        "command": f"python -m bench train {model}",
        "recipe": asdict(recipe),
        "data": {"world": "dead leaves", "seed": TRAINING_SEED, "scenes": SCENES},
        "teacher": run.teacher,
        "seconds": round(time.monotonic() - started),
        "processes": processes.num_processes,
        "last_log_line": json.loads((folder / "log.jsonl").read_text().splitlines()[-1]),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "engine": engine,
        "made_with": {key: made_with[key] for key in ("git", "versions", "hardware", "threads")},
    }
    export(network, weights / f"{model}.safetensors", record)


def _stage(run: MicroRun, network: nn.Module, weights: Path, *, share: int) -> tuple[nn.Module, Any, MaskBatches]:
    """Return the module that is trained, the stage's losses and the batches of one of `share` processes."""
    recipe = run.recipe
    images, rest = divmod(recipe.images_per_step, share * recipe.accumulate)
    if rest:
        raise BenchError(
            f"{recipe.images_per_step} images a step cannot be shared equally by {share} processes with "
            f"{recipe.accumulate} micro-batches each: start another number of processes"
        )
    if isinstance(recipe, PromptableRecipe):
        masks = recipe.masks_per_prompt * len(recipe.prompts)
        batches = MaskBatches(training_scenes(SCENES), images=images, masks=masks, seed=recipe.seed)
        start_from_cosines(network.image_encoder.patch_embed.proj)  # type: ignore[arg-type, union-attr]
        start_from_waves(network.image_encoder.pos_embed)  # type: ignore[arg-type, union-attr]
        return PromptableTrainer(network), promptable_stage(recipe), batches
    path = weights / f"{run.teacher}.safetensors"
    if not path.is_file():
        raise BenchError(f"the teacher's weights are not at {path}: run `python -m bench train {run.teacher}` first")
    teacher = zoo.load(str(run.teacher), checkpoint=path).network  # type: ignore[attr-defined]
    network.prompt_encoder.load_state_dict(teacher.prompt_encoder.state_dict())  # type: ignore[union-attr, operator]
    network.mask_decoder.load_state_dict(teacher.mask_decoder.state_dict())  # type: ignore[union-attr, operator]
    batches = MaskBatches(training_scenes(SCENES), images=images, masks=1, seed=recipe.seed)
    return EncoderTrainer(network.image_encoder), distill_stage(teacher), batches  # type: ignore[arg-type]


def export(network: nn.Module, path: Path, record: dict[str, Any]) -> None:
    """Write a network's weights in half precision and, beside them, how they were made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(state, path)
    content = path.read_bytes()
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps({**facts, **record}, indent=1) + "\n")


LANES = (("sam-micro", "mobilesam-micro"), ("efficientsam-s-micro", "efficientsam-ti-micro"))
"""What is trained side by side, one thread each; MobileSAM needs its teacher first."""


def train_micro(out: Path = Path("training"), weights: Path = WEIGHTS) -> None:
    """Train all micro models, two at a time with one thread each; goes on after a kill.

    Args:
        out: Folder of checkpoints and logs.
        weights: Folder of the finished weights.
    """
    training_scenes(SCENES)  # once, before two processes want them
    environment = {**os.environ, **ENV, "OMP_NUM_THREADS": "1"}

    def run_lane(names: tuple[str, ...]) -> None:
        for name in names:
            command = [
                sys.executable,
                "-m",
                "bench",
                "train",
                name,
                "--out",
                str(out),
                "--weights",
                str(weights),
            ]
            subprocess.run(command, check=True, env=environment)

    with ThreadPoolExecutor(len(LANES)) as pool:
        try:
            list(pool.map(run_lane, LANES))
        except subprocess.CalledProcessError as failure:
            raise BenchError(f"{' '.join(failure.cmd[2:5])} failed, see above; run again to go on") from None
