"""Many micro trainings, two at a time, each after those it needs: `bench train --all`, `bench run TABLE --train`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Literal

from bench.env import ENV
from bench.training.cost import dry_run_all
from bench.training.options import OF_ALL, Options, check, flag
from bench.training.runs import RUNS
from models.errors import BenchError, unknown_name
from models.packaged import packaged_weights
from models.training.recipes import MaskedRecipe

TOGETHER = 2
"""Trainings side by side, one thread each."""
PARALLEL = ("sam-micro",)
"""Trainings that others wait for: alone, on all processes."""

Group = Literal["micro", "ablations"]


@dataclass(frozen=True, slots=True)
class Task:
    """One command, and what must be done before it."""

    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()
    processes: int = 1


def train_all(group: Group, options: Options) -> None:
    """Train a group of micro models, two at a time with one thread each, going on after a kill.

    Args:
        group: micro, those whose weights are committed; or ablations, what leaves records alone: the arms of Tables 6
            and 7, of the ablations of section 4.4 and Figure 7, and the detectors and segmenters of Tables 2 and 3
            whose weights are not committed. The first seed of the committed models is of the group micro.
        options: folders, or how to estimate the cost.
    """
    check(f"--all {group}", options, OF_ALL)
    weights = options.weights
    have = [n for n, run in RUNS.items() if run.committed and packaged_weights(n, weights).is_file()]
    todo = tasks(group_of(group), have=have if group == "ablations" else ())
    if options.dry_run:
        dry_run_all(f"--all {group}", todo, options)
    else:
        run_all(todo, options)


def group_of(group: Group) -> list[tuple[str, int]]:
    """Return the trainings (name, seed) of a group."""
    if group == "micro":
        return [(name, 0) for name, run in RUNS.items() if run.committed]
    wanted = [
        (name, seed) for name, run in RUNS.items() for seed in {s for seeds in run.tables.values() for s in seeds}
    ]
    left = [(name, seed) for name, seed in wanted if not (RUNS[name].committed and seed == 0)]
    return sorted(left, key=lambda run: run[1])  # one seed of every run before a second of any


def train_table(table: str) -> None:
    """Train again what a table or figure at micro scale is made of, and all that this needs.

    Args:
        table: table1, ..., table7 or figure7.

    Raises:
        BenchError: if nothing is trained for it.
    """
    wanted = trainings_of(table)
    if not wanted:
        raise unknown_name("trained table", table, sorted({name for run in RUNS.values() for name in run.tables}))
    run_all(tasks(wanted), Options())


def trainings_of(table: str) -> list[tuple[str, int]]:
    """Return the trainings (name, seed) that a table or figure is made of."""
    return [(name, seed) for name, run in RUNS.items() for seed in run.tables.get(table, ())]


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
        run, needs = RUNS[name], []
        if run.start:
            needs.append(add(run.start, seed))
        if run.teacher:
            pretraining = isinstance(run.recipe, MaskedRecipe)
            needs.append(add_features(run.teacher) if pretraining else add(run.teacher, 0))
        arguments = ("train", name, *(("--seed", str(seed)) if seed else ()))
        found[key] = Task(arguments, tuple(n for n in needs if n in found), TOGETHER if name in PARALLEL else 1)
        return key

    def add_features(teacher: str) -> str:
        key = f"features-{teacher}"
        if key not in found:
            before = add(teacher, 0)
            found[key] = Task(("data", "cache-features", teacher), (before,) if before in found else ())
        return key

    for name, seed in wanted:
        add(name, seed)
    return found


def run_all(todo: Mapping[str, Task], options: Options) -> None:
    """Run commands, each after those it needs, as many side by side as there is room for.

    A command that fails stops what has not begun; what runs is finished first.

    Raises:
        BenchError: naming the command that failed, or the package that one of them needs.
    """
    wanted = [RUNS[name] for name in todo if name in RUNS]
    for one in wanted:
        one.ready()  # now, not after hours
    for source in {one.data.open for one in wanted}:
        source(None)  # drawn once, before two processes want them

    def run(name: str) -> None:
        task = todo[name]
        folders = ("out", "weights", "records") if task.arguments[0] == "train" else ("out", "weights")
        told = [part for folder in folders for part in (flag(folder), str(getattr(options, folder)))]
        command = [*_launcher(task.processes), "bench", *task.arguments, *told]
        subprocess.run(command, check=True, env={**os.environ, **ENV, "OMP_NUM_THREADS": "1"})

    try:
        schedule({name: task.needs for name, task in todo.items()}, run, {n: t.processes for n, t in todo.items()})
    except subprocess.CalledProcessError as failure:
        raise BenchError(f"{' '.join(failure.cmd[2:6])} failed, see above; run again to go on") from None


def schedule(needs: Mapping[str, Sequence[str]], run: Callable[[str], None], size: Mapping[str, int]) -> None:
    """Call `run` for every name after the names it needs, with at most TOGETHER processes at a time.

    What is named first begins first, so that one arm is finished before the next begins.
    """
    places = {name: place for place, name in enumerate(needs)}
    sorter = TopologicalSorter(needs)
    sorter.prepare()
    ready: list[str] = []
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(TOGETHER) as pool:
        while sorter.is_active():
            ready = sorted((*ready, *sorter.get_ready()), key=places.__getitem__)
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
