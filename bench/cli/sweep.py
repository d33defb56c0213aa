"""`bench sweep`: many models, one job each, in turn on this machine or side by side on a cluster; then the report."""

from __future__ import annotations

import inspect
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType, ModuleType
from typing import Annotated, Any, NamedTuple, get_args

import tyro

from bench import cluster
from bench.cli import run as of_run
from bench.cli.run import say
from bench.processes import this_process
from models.errors import BenchError
from protocols.registry import registry_of
from protocols.settings import Settings
from protocols.table import prepare
from reports.write import check_folder

NOT_OF_A_SWEEP = ("names", "records_only", "train", "ending")
"""Parameters of `bench run` that a sweep does not hand on."""
RUN = {
    name: parameter
    for name, parameter in inspect.signature(of_run.run, eval_str=True).parameters.items()
    if name not in NOT_OF_A_SWEEP
}
"""The options of `bench run` that are options of a sweep."""
GRACE_S = 10.0
"""Time in which a command ends that Ctrl-C has reached; later it is told once more, then killed."""


class Sweep(NamedTuple):
    """What is to be run."""

    jobs: dict[str, tuple[str, ...]]
    """The arguments of `python -m bench` of each model."""
    report: Callable[[Sequence[str]], list[tuple[str, ...]]]
    """(models that failed) -> the arguments of the commands that report all others."""


def _with_options_of_run(function: Callable[..., None]) -> Callable[..., None]:
    """Give a function the options of `bench run`, their types, defaults and help, in place of its **options."""
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
    every = [*own, *(parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in RUN.values())]
    described = (of_run.run.__doc__ or "").partition("Args:\n")[2]
    function.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in every}
    function.__doc__ = f"{(function.__doc__ or '').rstrip()}\n{described}"
    return function


@_with_options_of_run
def sweep(
    *,
    tables: tuple[str, ...],
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    slurm: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    print_sbatch: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    hours: float = 24.0,
    sbatch: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = (),
    **options: Any,
) -> None:
    """Measure many models, one job each, then report all of them in one table.

    A model's weights load once, and each image is embedded once, for all tables. Without more, jobs run in turn on
    this machine; one that fails does not stop the others. All write into the run store (./runs or $BENCH_RUNS), so
    the same command goes on after a failure, Ctrl-C or a time limit, and passes over finished models in seconds.

        bench sweep --models sam-vit-h mobilesam efficientsam-ti --tables table4 table5 --device cuda
        bench sweep --tables table4 --slurm --sbatch partition=gpu cpus-per-task=8
        bench sweep --tables table4 --print-sbatch > sweep.sh

    Args:
        tables: Tables and figures, e.g. table4; `bench list` shows them all. What is timed, or stands on records of
            trainings, is made with the report.
        dry_run: List the commands, and run none.
        slurm: Submit an array of jobs to Slurm, and the report to run after it; needs the extra "sweep". Machines must
            share the folders of runs, data and weights.
        print_sbatch: Print the same as a script for sbatch, to read, change and submit.
        hours: On a cluster, the time limit of each job.
        sbatch: On a cluster, more options of sbatch, e.g. partition=gpu account=vision mem=64G. On --device cuda each
            job asks for one GPU if they name none.
        **options: Those of `bench run`.
    """
    if sum((dry_run, slurm, print_sbatch)) > 1:
        raise BenchError("--dry-run, --slurm and --print-sbatch are three ways: choose one")
    if (slurm or print_sbatch) and this_process().world > 1:
        raise BenchError("a sweep on a cluster is submitted by one process: start it without torchrun")
    how = cluster.limits(hours, sbatch, options["device"])

    def carry_out(modules: Sequence[ModuleType], settings: Settings, out: Path) -> None:
        planned = plan(modules, settings, options)
        check_folder(out)
        jobs, (report, *_) = list(planned.jobs.values()), planned.report(())
        if dry_run:
            print("\n".join(f"python -m bench {shlex.join(arguments)}" for arguments in [*jobs, report]))
        elif print_sbatch:
            print(cluster.sbatch_script(jobs, report, how), end="")
        elif slurm:
            logs = out / "slurm"
            array, last = cluster.submit(jobs, report, how, logs)
            say(f"job {array}: {', '.join(planned.jobs)}")
            say(f"job {last}: the report, after these; logs are in {logs}, `squeue --me` shows what runs")
        else:
            in_turn(planned)

    of_run.run(tables, **options, ending=carry_out)


def plan(modules: Sequence[ModuleType], settings: Settings, options: Mapping[str, Any]) -> Sweep:
    """Return the jobs of a sweep.

    Raises:
        BenchError: for an unknown model, weights or data that are not there, or nothing to ask.
    """
    names = [table.NAME for table in modules]
    asking = [table for table in modules if not hasattr(table, "make")]
    if not asking:
        raise BenchError(f"{', '.join(names)}: no model is asked for that: use `bench run {' '.join(names)}`")
    tables_of: dict[str, list[str]] = {}
    for table in asking:
        planned = prepare(table, settings).question.plan
        for subject in planned.subjects:
            found, why = registry_of(table).available(subject.model)
            if not (found or subject.checkpoint or settings.trusted):
                raise BenchError(f"{subject.model} cannot be loaded: {why}")
            tables_of.setdefault(subject.model, []).append(table.NAME)
        for row, (status, why) in planned.unmeasured.items():
            if settings.models and status != "not requested":
                say(f"{table.NAME}: {row} is not asked: {': '.join(filter(None, (status, why)))}")
    if not tables_of:
        raise BenchError(f"no model can be asked for {', '.join(names)}: see `bench list` for what is missing")

    def report(failed: Sequence[str]) -> list[tuple[str, ...]]:
        if not failed:
            return [("run", *names, *flags(options, options["models"]))]
        tables: dict[tuple[str, ...], list[str]] = {}
        for table in asking:
            left = tuple(model for model in tables_of if table.NAME in tables_of[model] and model not in failed)
            tables.setdefault(left, []).append(table.NAME)
        return [("run", *of, *flags(options, left)) for left, of in tables.items() if left]

    share = {name: value for name, value in options.items() if name != "out"}
    jobs = {model: ("run", *of, *flags(share, (model,)), "--records-only") for model, of in tables_of.items()}
    return Sweep(jobs, report)


def flags(options: Mapping[str, Any], models: Sequence[str]) -> list[str]:
    """Return options of `bench run` as they are typed, those that are not the usual ones; no models are all."""
    found = []
    for name, value in {**options, "models": tuple(models)}.items():
        if name == "checkpoint" and models:
            value = tuple(entry for entry in value if entry.partition("=")[0] in models)
        if value == RUN[name].default:
            continue
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            found.append(flag)
        elif not isinstance(value, tuple):
            found.append(f"{flag}={value}")
        elif tyro.conf.UseAppendAction in get_args(RUN[name].annotation):
            found += [part for one in value for part in (flag, str(one))]
        else:
            found += [flag, *map(str, value)]
    return found


def in_turn(planned: Sweep) -> None:
    """Run the jobs one after the other, then report what did not fail.

    Raises:
        BenchError: naming what failed.
    """
    start, failed = time.monotonic(), []
    with _terminated_as_interrupted():
        for number, (model, arguments) in enumerate(planned.jobs.items(), start=1):
            so_far = timedelta(seconds=round(time.monotonic() - start))
            say(f"model {number} of {len(planned.jobs)}: {model}, {so_far} so far")
            if code := call(arguments):
                say(f"{model} failed ({f'signal {-code}' if code < 0 else f'exit code {code}'}), see above")
                failed.append(model)
        reports = planned.report(failed)
        unmade = [shlex.join(arguments) for arguments in reports if call(arguments)]
    if failed:
        raise BenchError(
            f"{len(failed)} of {len(planned.jobs)} models failed, see above: {', '.join(failed)}; mend that and give "
            "the same command again, which passes over what is finished"
        )
    if unmade:
        raise BenchError(f"the report failed, see above: `python -m bench {unmade[0]}` makes it")


def call(arguments: Sequence[str]) -> int:
    """Run a command of `bench` in a process of its own and return its exit code; Ctrl-C ends it first."""
    child = subprocess.Popen(cluster.command(arguments), env={**os.environ, **cluster.environment()})
    try:
        return child.wait()
    except KeyboardInterrupt:
        _end(child)
        raise


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a command, which a terminal's Ctrl-C has told already, `kill -INT` of this process has not."""
    try:
        for tell in (lambda: None, lambda: child.send_signal(signal.SIGINT)):
            tell()
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)
    finally:  # also if Ctrl-C comes again
        child.kill()
        child.wait()


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that no command is left running without its sweep."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
