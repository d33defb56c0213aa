"""`bench train-micro`, `bench train-ablations`: many runs, two at a time, each after those it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from bench.cli.micro_runs import CLIP_OBJECTS, OBJECTS, SCENES, WEIGHTS
from bench.cli.records import RECORDS
from bench.data.dead_leaves.imagenet import labelled_images, unlabelled_images
from bench.data.dead_leaves.training import training_scenes
from bench.env import ENV
from models.errors import BenchError, unknown_name
from models.training.micro import DENSE, DENSE_SEEDS, FIGURE7, MICRO_RUNS, SEEDS, VARIANTS
from models.training.recipes import ClassifyRecipe, DistillRecipe, PromptableRecipe
from protocols.prompts.box_files import MICRO_DETECTOR

TOGETHER = 2
"""Runs side by side, one thread each."""
PARALLEL = ("sam-micro",)
"""Runs that others wait for: alone, on all processes."""


FOLDERS = {"train": ("out", "weights", "records"), "micro-features": ("out", "weights")}
"""Folders that each command is told."""


@dataclass(frozen=True, slots=True)
class Task:
    """One command, and what must be done before it."""

    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    processes: int = 1


def train_micro(out: Path = Path("training"), weights: Path = WEIGHTS, records: Path = RECORDS) -> None:
    """Train all committed micro models, two at a time with one thread each; goes on after a kill.

    Args:
        out: Folder of checkpoints, logs and weights of all runs.
        weights: Folder of the committed weights.
        records: Folder of the records of ablations and of Figure 7.
    """
    run_all(tasks([(name, 0) for name, run in MICRO_RUNS.items() if run.committed]), out, weights, records)


def train_ablations(out: Path = Path("training"), weights: Path = WEIGHTS, records: Path = RECORDS) -> None:
    """Train what leaves records and no weights, two at a time.

    The arms of Tables 6, 7 and of the ablations of section 4.4 and Figure 7, three seeds each; detectors and
    segmenters of Tables 2 and 3 whose weights are not committed. The first seed of the committed models is
    `bench train-micro`'s. Goes on after a kill.

    Args:
        out: Folder of checkpoints, logs and weights of all runs.
        weights: Folder of the committed weights.
        records: Folder of the records.
    """
    arms = [(f"{name}-micro-classify", seed) for seed in SEEDS for name in VARIANTS]
    wanted = [*arms, *OF_TABLE["figure7"], *OF_TABLE["table2"], *OF_TABLE["table3"]]
    have = [name for name, run in MICRO_RUNS.items() if run.committed and (weights / f"{name}.safetensors").is_file()]
    run_all(tasks(wanted, have=have), out, weights, records)


def train_table(table: str, out: Path = Path("training")) -> None:
    """Train again what a table or figure at micro scale is made of, and all that this needs.

    Args:
        table: table1, ..., table7 or figure7.
        out: Folder of checkpoints, logs and weights of all runs.

    Raises:
        BenchError: if nothing is trained for it.
    """
    if table not in OF_TABLE:
        raise unknown_name("trained table", table, OF_TABLE)
    run_all(tasks(OF_TABLE[table]), out, WEIGHTS, RECORDS)


def _dense(task: str) -> list[tuple[str, int]]:
    return [(f"{task}-{name}-micro", seed) for name in DENSE for seed in DENSE_SEEDS[task][VARIANTS[name].size]]


def _arms(*variants: str) -> list[tuple[str, int]]:
    return [(f"{name}-micro-classify", seed) for name in variants for seed in SEEDS]


_PROMPTABLE = [
    (name, 0) for name, run in MICRO_RUNS.items() if isinstance(run.recipe, PromptableRecipe | DistillRecipe)
]
OF_TABLE: dict[str, list[tuple[str, int]]] = {
    "table1": [(f"{name}-micro-classify", 0) for name, variant in VARIANTS.items() if variant.committed],
    "table2": _dense("vitdet"),
    "table3": _dense("mask2former"),
    "table4": _PROMPTABLE,
    "table5": [*_PROMPTABLE, ("fastsam-micro", 0), (f"vitdet-{MICRO_DETECTOR.lower()}-micro", 0)],
    "table6": _arms(*(name for name in VARIANTS if "mask" not in name)),
    "table7": _arms("sami-ti-mask50", "sami-ti", "sami-ti-mask85"),
    "figure7": [(name, seed) for name in FIGURE7 for seed in SEEDS],
}
"""Runs (name, seed) behind each table."""


def tasks(wanted: Sequence[tuple[str, int]], have: Sequence[str] = ()) -> dict[str, Task]:
    """Return the commands of runs (name, seed) and of all they need, by a name that tells them apart.

    Args:
        wanted: runs.
        have: runs of seed 0 whose weights are there already.
    """
    found: dict[str, Task] = {}

    def add(name: str, seed: int) -> str:
        key = name if seed == 0 else f"{name}-seed{seed}"
        if key in found or (seed == 0 and name in have):
            return key
        run, needs = MICRO_RUNS[name], []
        if run.start:
            # Classifiers tell of pretraining, so they start from that of their own seed; all others from the committed.
            needs.append(add(run.start, seed if isinstance(run.recipe, ClassifyRecipe) else 0))
        if run.teacher:
            needs.append(add(run.teacher, 0) if name == "mobilesam-micro" else add_features(run.teacher))
        arguments = ("train", name, *(("--seed", str(seed)) if seed else ()))
        found[key] = Task(arguments, tuple(n for n in needs if n in found), TOGETHER if name in PARALLEL else 1)
        return key

    def add_features(teacher: str) -> str:
        key = f"features-{teacher}"
        if key not in found:
            before = add(teacher, 0)
            found[key] = Task(("micro-features", teacher), (before,) if before in found else ())
        return key

    for name, seed in wanted:
        add(name, seed)
    return found


def run_all(todo: Mapping[str, Task], out: Path, weights: Path, records: Path) -> None:
    """Run commands, each after those it needs, as many side by side as there is room for.

    A command that fails stops what has not begun; what runs is finished first.

    Raises:
        BenchError: naming the command that failed, or the package that one of them needs.
    """
    for name in todo:
        if name in MICRO_RUNS:
            MICRO_RUNS[name].ready()  # now, not after hours
    training_scenes(SCENES)  # once, before two processes want them
    unlabelled_images(OBJECTS)
    labelled_images(OBJECTS + CLIP_OBJECTS)
    folders = {"out": out, "weights": weights, "records": records}

    def run(name: str) -> None:
        task = todo[name]
        options = [part for kind in FOLDERS[task.arguments[0]] for part in (f"--{kind}", str(folders[kind]))]
        command = [*_launcher(task.processes), "bench", *task.arguments, *options]
        subprocess.run(command, check=True, env={**os.environ, **ENV, "OMP_NUM_THREADS": "1"})

    try:
        schedule({name: task.needs for name, task in todo.items()}, run, {n: t.processes for n, t in todo.items()})
    except subprocess.CalledProcessError as failure:
        raise BenchError(f"{' '.join(failure.cmd[2:6])} failed, see above; run again to go on") from None


def schedule(needs: Mapping[str, Sequence[str]], run: Callable[[str], None], size: Mapping[str, int]) -> None:
    """Call `run` for every name after the names it needs, with at most TOGETHER processes at a time."""
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    ready: list[str] = []
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(TOGETHER) as pool:
        while sorter.is_active():
            ready += sorter.get_ready()
            while ready and sum(size[name] for name in running.values()) + size[ready[0]] <= TOGETHER:
                name = ready.pop(0)
                running[pool.submit(run, name)] = name
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                future.result()
                sorter.done(name)


def _launcher(processes: int) -> list[str]:
    if processes == 1:
        return [sys.executable, "-m"]
    return [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "-m"]
