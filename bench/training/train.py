"""One training from start to end: trained, its weights written, and how they were made."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import save_file
from torch import nn

from bench.progress import progress
from bench.provenance import provenance
from bench.training.cost import dry_run
from bench.training.job import Job, prepare
from bench.training.options import Options, check, command, takes
from bench.training.records import check_records, figure7_visits, write_records
from bench.training.runs import RUNS, TrainingRun
from bench.training.stages import Parts, parts
from models.errors import BenchError, unknown_name
from models.mask2former.resume import load_weights, semantic_steps_done
from models.mask2former.train import train_semantic
from models.packaged import packaged_weights
from models.sami.network import MaskedAutoencoder
from models.training.loop import Visit, last_log_line, plain_recipe, seconds_trained, steps_done
from models.training.loop import train as train_network
from models.training.prefetch import Prefetched


def train(name: str, options: Options) -> None:
    """Train one model to the end of its recipe, going on from its newest checkpoint; a finished one is left alone.

    Args:
        name: of a run, see `RUNS`.
        options: how.

    Raises:
        BenchError: if there is no such run, an option means nothing to it, or anything it needs is not there.
    """
    run = chosen(name, options)
    if options.dry_run:
        dry_run(run, options)
        return
    job = prepare(run, options, PartialState(cpu=not torch.cuda.is_available()))
    if is_finished(job) and not options.export_only:
        print(
            f"{name}: trained before, {job.weights_file} is kept; remove {job.folder} to train again", file=sys.stderr
        )
        return
    facts = {"engine": {"float32_matmul_precision": torch.get_float32_matmul_precision()}, "made_with": provenance()}
    check_records(job)
    ready = parts(job)
    visits = figure7_visits(job) if job.as_registered and "figure7" in run.tables else None
    _train(job, ready, visits)
    if job.processes.is_main_process:
        _keep(job, ready.network, {**_record(job, ready, facts), **job.start_facts(), **ready.facts})


def chosen(name: str, options: Options) -> TrainingRun:
    """Return the run of a name, to which the options mean something.

    Raises:
        BenchError: if they do not, or there is no such run.
    """
    if name not in RUNS:
        raise unknown_name("training", name, RUNS)
    check(name, options, takes(RUNS[name]))
    return RUNS[name]


def is_finished(job: Job) -> bool:
    """Whether a run of this very recipe has left its weights, so that a second start changes no record of it."""
    record = job.weights_file.with_suffix(".json")
    return record.is_file() and json.loads(record.read_text())["recipe"] == plain_recipe(job.recipe)


def _train(job: Job, ready: Parts, visits: Mapping[int, Visit] | None) -> None:
    """Train, with a progress bar on the first process."""
    loop, done = (_mmengine_loop, semantic_steps_done) if ready.stage is None else (_our_loop, steps_done)
    if not job.processes.is_main_process:
        loop(job, ready, visits, lambda steps: None)
        return
    with progress(job.name, total=job.recipe.steps, unit="steps", done=done(job.folder)) as advance:
        loop(job, ready, visits, advance)


def _our_loop(job: Job, ready: Parts, visits: Mapping[int, Visit] | None, advance: Callable[[int], None]) -> None:
    assert ready.stage is not None
    processes, recipe = job.processes.num_processes, job.recipe
    stop = recipe.steps * recipe.accumulate * processes
    train_network(
        ready.trainer,
        ready.stage,
        Prefetched(ready.batches, workers=job.workers, stride=processes, stop=stop),
        recipe,
        job.folder,
        advance=advance,
        train_on=not job.options.export_only,
        visits=visits,
        trackers=() if job.options.tracker == "none" else (job.options.tracker,),
    )


def _mmengine_loop(job: Job, ready: Parts, visits: object, advance: Callable[[int], None]) -> None:
    if job.options.export_only:
        load_weights(ready.network, job.folder)
        return
    train_semantic(ready.network, ready.batches, job.recipe, job.folder, advance=advance, workers=job.workers)


def _record(job: Job, ready: Parts, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a job's weights were made. `made_with` is of the last session, if there were several."""
    return {
        "model": job.name,
        "command": command(job.run, job.options, job.processes.num_processes),
        "recipe": plain_recipe(job.recipe),
        "data": job.data.facts(ready.batches),
        "teacher": job.options.teacher or job.run.teacher,
        "start": job.run.start,
        "seconds": seconds_trained(job.folder),
        "processes": job.processes.num_processes,
        "last_log_line": last_log_line(job.folder),
        "date": datetime.now(UTC).date().isoformat(),
        "engine": facts["engine"],
        "made_with": {key: facts["made_with"][key] for key in ("git", "versions", "hardware", "threads")},
    }


def _keep(job: Job, network: nn.Module, record: dict[str, Any]) -> None:
    """Write a job's records and weights, the run's own copy last: where it is, everything else is."""
    unfinished = job.folder / "unfinished.safetensors"
    export(network, unfinished, record, half=job.run.scale.half)
    committed = job.as_registered and job.run.committed and job.seed == 0
    if job.as_registered:
        write_records(job, network, unfinished, record)
    for suffix in (".safetensors", ".json"):
        made = unfinished.with_suffix(suffix)
        if committed:
            kept = packaged_weights(job.name, job.options.weights).with_suffix(suffix)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, kept)
        made.replace(job.weights_file.with_suffix(suffix))
    print(f"wrote {job.weights_file}", file=sys.stderr)


def export(network: nn.Module, path: Path, record: dict[str, Any], *, half: bool = True) -> None:
    """Write a network's weights and, beside them, how they were made; of pretraining, the encoder's.

    Args:
        network: that was trained.
        path: of the safetensors.
        record: how it was made.
        half: whether weights are rounded to half precision.

    Raises:
        BenchError: if a weight is not finite.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = network.encoder if isinstance(network, MaskedAutoencoder) else network
    state = {
        name: (value.half() if half and value.is_floating_point() else value).contiguous()
        for name, value in kept.state_dict().items()
    }
    broken = next((n for n, v in state.items() if v.is_floating_point() and not v.isfinite().all()), None)
    if broken:
        raise BenchError(f"'{broken}' of {record['model']} is not finite: its training diverged")
    save_file(state, path)
    content = path.read_bytes()
    facts = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps({**facts, **record}, indent=1) + "\n")
