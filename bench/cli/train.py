"""`bench train RUN`: train a micro model or one arm of an ablation, and keep how it was made."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from accelerate import PartialState
from safetensors.torch import save_file
from torch import nn

from bench.cli.micro_runs import CLIP_OBJECTS, DETECTION_SCENES, OBJECTS, SCENES, WEIGHTS, Job, make_features, parts
from bench.cli.records import RECORDS, ablation_record, answers_recording, figure7_visits, write_figure7
from bench.cli.semantic_runs import semantic_data, trained_mask2former
from bench.data.dead_leaves import detection, imagenet
from bench.data.dead_leaves.training import TRAINING_SEED
from bench.progress import progress
from bench.provenance import provenance
from models.engine import exact_engine
from models.errors import BenchError, unknown_name
from models.sami.network import MaskedAutoencoder
from models.training.loop import Visit, plain_recipe, seconds_trained, steps_done
from models.training.loop import train as train_network
from models.training.micro import FIGURE7, MICRO_RUNS
from models.training.recipes import (
    FINETUNE_SCENES,
    ClassifyRecipe,
    DetectRecipe,
    DistillRecipe,
    EverythingRecipe,
    MaskedRecipe,
    PromptableRecipe,
    Recipe,
    SemanticRecipe,
)


def train(
    run: tyro.conf.Positional[str],
    /,
    out: Path = Path("training"),
    weights: Path = WEIGHTS,
    records: Path = RECORDS,
    seed: int = 0,
    steps: int | None = None,
    export_only: bool = False,
) -> None:
    """Train one micro model on dead leaves, on as many threads as OMP_NUM_THREADS says.

    Under `torchrun -m bench train` the images of a step are shared among the processes. Goes on from its newest
    checkpoint, and leaves a finished run alone. At the end writes <out>/<run>/weights.safetensors (half precision)
    and .json (command, seed, data, time, hash), and of seed 0 of the committed models a copy into <weights>.
    `nox -s train_micro` trains all of these, `nox -s train_ablations` all others.

    Args:
        run: sam-micro, mobilesam-micro, efficientsam-ti-micro, sami-ti-micro, sami-ti-micro-classify,
            mask2former-sami-ti-micro, ...; a wrong name lists them.
        out: Folder of checkpoints, logs and weights of all runs.
        weights: Folder of the committed weights.
        records: Folder of the records of ablations and of Figure 7.
        seed: Of initialisation, data order, masks and prompts.
        steps: Fewer steps than the recipe's, to try things: no record is written and nothing goes into <weights>.
        export_only: Write the weights of the newest checkpoint without training on.
    """
    if run not in MICRO_RUNS:
        raise unknown_name("run", run, MICRO_RUNS)
    MICRO_RUNS[run].ready()
    job = Job(run, MICRO_RUNS[run], seed, out, weights)
    if steps is not None:
        job = replace(job, run=replace(job.run, recipe=replace(job.run.recipe, steps=steps)))
    if is_finished(job) and not export_only:
        print(f"{run}: trained before, {job.weights_file} is kept; remove {job.folder} to train again", file=sys.stderr)
        return
    engine = {"float32_matmul_precision": torch.get_float32_matmul_precision()}
    facts = {"engine": engine, "provenance": provenance()}
    processes = PartialState(cpu=not torch.cuda.is_available())
    visits = figure7_visits(job) if run in FIGURE7 and steps is None else None
    network = _trained(job, processes, visits, train_on=not export_only)
    if processes.is_main_process:
        record = _record(job, processes.num_processes, facts)
        if steps is None:
            _keep(job, network, record, records)
        else:
            export(network, job.weights_file, record)


def is_finished(job: Job) -> bool:
    """Whether a run of this very recipe has left its weights, so that a second start changes no record of it."""
    made = job.weights_file.with_suffix(".json")
    return made.is_file() and json.loads(made.read_text())["recipe"] == plain_recipe(job.recipe)


def _trained(job: Job, processes: PartialState, visits: dict[int, Visit] | None, *, train_on: bool) -> nn.Module:
    """Train a job's network, with a progress bar on the first process."""
    torch.manual_seed(job.seed)
    network = job.run.build()
    if isinstance(job.recipe, SemanticRecipe):
        return trained_mask2former(job, network, processes=processes.num_processes, train_on=train_on)
    with processes.local_main_process_first():  # the others find the scenes drawn
        trainer, stage, batches = parts(job, network, processes=processes.num_processes)
    run = partial(train_network, trainer, stage, batches, job.recipe, job.folder, visits=visits, train_on=train_on)
    if not processes.is_main_process:
        run()
        return network
    with progress(job.name, total=job.recipe.steps, unit="steps", done=steps_done(job.folder)) as advance:
        run(advance=advance)
    return network


def _record(job: Job, processes: int, facts: dict[str, Any]) -> dict[str, Any]:
    """Return how a job's weights were made. `made_with` is of the last session, if there were several."""
    return {
        "model": job.name,
        "command": _command(job, processes),
        "recipe": plain_recipe(job.recipe),
        "data": _data(job),
        "teacher": job.run.teacher,
        "start": job.run.start,
        "seconds": seconds_trained(job.folder),
        "processes": processes,
        "last_log_line": json.loads((job.folder / "log.jsonl").read_text().splitlines()[-1]),
        "date": datetime.now(UTC).date().isoformat(),
        "engine": facts["engine"],
        "made_with": {key: facts["provenance"][key] for key in ("git", "versions", "hardware", "threads")},
    }


def _keep(job: Job, network: nn.Module, record: dict[str, Any], records: Path) -> None:
    """Write a job's records and weights, the run's own copy last: where it is, everything else is."""
    unfinished = job.folder / "unfinished.safetensors"
    export(network, unfinished, record)
    committed = job.run.committed and job.seed == 0
    if isinstance(job.recipe, ClassifyRecipe) and job.run.start:
        ablation_record(job, network, record, records)
    if job.name in FIGURE7:
        write_figure7(job, record, records)
    if isinstance(job.recipe, DetectRecipe | SemanticRecipe) and not committed:
        answers_recording(job, unfinished, record, records)
    for suffix in (".safetensors", ".json"):
        made = unfinished.with_suffix(suffix)
        if committed:
            job.weights.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, job.weights / f"{job.name}{suffix}")
        made.replace(job.weights_file.with_suffix(suffix))


def micro_features(
    teacher: tyro.conf.Positional[str], /, out: Path = Path("training"), weights: Path = WEIGHTS
) -> None:
    """Let a micro teacher see every crop of pretraining once, and cache its features.

    Args:
        teacher: sam-micro or clip-micro.
        out: Folder of all runs; the features go to <out>/features-<teacher>.
        weights: Folder of the committed weights.
    """
    teachers = sorted({run.teacher for run in MICRO_RUNS.values() if run.teacher})
    if teacher not in teachers:
        raise unknown_name("teacher", teacher, teachers)
    exact_engine()
    make_features(Job(teacher, MICRO_RUNS[teacher], 0, out, weights), teacher)


def export(network: nn.Module, path: Path, record: dict[str, Any]) -> None:
    """Write a network's weights in half precision and, beside them, how they were made; of pretraining, the encoder's.

    Raises:
        BenchError: if a weight is not finite.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = network.encoder if isinstance(network, MaskedAutoencoder) else network
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in kept.state_dict().items()
    }
    broken = next((n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()), None)
    if broken:
        raise BenchError(f"'{broken}' of {record['model']} is not finite in half precision: its training diverged")
    save_file(state, path)
    content = path.read_bytes()
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps({**facts, **record}, indent=1) + "\n")


def _command(job: Job, processes: int) -> str:
    launcher = "python -m bench" if processes == 1 else f"torchrun --nproc_per_node {processes} -m bench"
    return f"{launcher} train {job.name}" + (f" --seed {job.seed}" if job.seed else "")


def _data(job: Job) -> dict[str, Any]:
    """Say which dead leaves a job sees."""
    recipe: Recipe = job.recipe
    if isinstance(recipe, PromptableRecipe | DistillRecipe | EverythingRecipe):
        scenes = FINETUNE_SCENES if job.run.start else SCENES
        return {"world": "dead leaves", "seed": TRAINING_SEED, "scenes": scenes}
    if isinstance(recipe, DetectRecipe):
        return {"world": "dead leaves to detect", "seed": detection.DETECTION_SEED, "scenes": DETECTION_SCENES}
    if isinstance(recipe, SemanticRecipe):
        return semantic_data()
    if isinstance(recipe, MaskedRecipe):
        return {"world": "dead leaves as ImageNet, unlabelled", "seed": imagenet.PRETRAINING_SEED, "images": OBJECTS}
    images = OBJECTS if job.run.start else CLIP_OBJECTS
    return {"world": "dead leaves as ImageNet, labelled", "seed": imagenet.TRAINING_SEED, "images": images}
