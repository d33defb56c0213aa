"""Commands of `bench` as jobs of a Slurm cluster: through submitit, or as an sbatch script that people read first.

All but the last are tasks of one job array; the last starts once they have ended, however they ended.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.env import ENV
from models.errors import BenchError

NAME = "bench-sweep"
CLUSTER = "slurm"
"""Where submitit submits to."""


class Limits(NamedTuple):
    """What each job may use."""

    hours: float
    options: tuple[str, ...]
    """More options of sbatch, without their dashes: partition=gpu, exclusive."""

    @property
    def minutes(self) -> int:
        """Return the time limit."""
        return max(1, round(60 * self.hours))


def limits(hours: float, options: Sequence[str], device: str) -> Limits:
    """Return what each job may use; one that computes on a GPU asks for one.

    Raises:
        BenchError: for no time, or what is no option of sbatch.
    """
    if not 0 < hours < 24 * 366:
        raise BenchError(f"--hours is the time limit of each job, got {hours:g}: give 24, for example")
    for option in options:
        if not re.fullmatch(r"[a-z][a-z-]*(=[^\n]*)?", option):
            raise BenchError(f"--sbatch takes options without dashes, got '{option}': e.g. partition=gpu")
        if option.partition("=")[0] in ("array", "dependency", "job-name", "time"):
            raise BenchError(f"--sbatch {option}: that is set by the sweep, the time by --hours; leave it out")
    asked = any(re.match("gpu|gres", option) for option in options)
    return Limits(hours, tuple(options) if asked or not device.startswith("cuda") else (*options, "gpus-per-node=1"))


def environment() -> dict[str, str]:
    """Return variables that jobs run with: those of this project that are set here, and the levers of `bench.env`."""
    return {**ENV, **{name: value for name, value in os.environ.items() if name in ENV or name.startswith("BENCH_")}}


def command(arguments: Sequence[str]) -> list[str]:
    """Return what starts a command of `bench` in a process of its own."""
    return [sys.executable, "-m", "bench", *arguments]


def sbatch_script(jobs: Sequence[Sequence[str]], last: Sequence[str], how: Limits) -> str:
    """Return an sbatch script: an array of a task a job; the task after those is the last job.

    Args:
        jobs: the arguments of each command.
        last: those of the command that needs all jobs.
        how: what each may use.
    """
    options = (f"job-name={NAME}", f"array=0-{len(jobs) - 1}", f"time={how.minutes}", *how.options)
    tasks = [f"{number}) {shlex.join(command(job))} ;;" for number, job in enumerate([*jobs, last])]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH --{option}" for option in options),
            "",
            "# One task a model, then the report as a task of its own:",
            "#   job=$(sbatch --parsable sweep.sh)",
            f'#   sbatch --dependency="afterany:$job" --array={len(jobs)} sweep.sh',
            "# What is finished is skipped: after a failure, or when the time was too short, submit both again.",
            "",
            "set -eu",
            f"cd {shlex.quote(os.getcwd())}",
            *(f"export {name}={shlex.quote(value)}" for name, value in sorted(environment().items())),
            "",
            'case "$SLURM_ARRAY_TASK_ID" in',
            *tasks,
            f'*) echo "there is no task $SLURM_ARRAY_TASK_ID: they are 0 to {len(jobs)}" >&2; exit 2 ;;',
            "esac",
            "",
        ]
    )


@dataclass(frozen=True)
class Resumable:
    """A command as submitit runs it: when its time is up, it is queued again and goes on."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str]

    def __call__(self) -> None:
        """Run it; CalledProcessError where it fails."""
        subprocess.run(command(self.arguments), check=True, env={**os.environ, **self.variables})

    def checkpoint(self) -> Any:
        """Return what is submitted when the cluster takes the machine back."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(jobs: Sequence[Sequence[str]], last: Sequence[str], how: Limits, logs: Path) -> tuple[str, str]:
    """Submit jobs as an array, and the last one to start after them.

    Args:
        jobs: the arguments of each command.
        last: those of the command that needs all jobs.
        how: what each may use.
        logs: a folder that all machines see.

    Returns:
        The numbers of the array and of the last job.

    Raises:
        BenchError: without submitit or Slurm, or if Slurm refuses.
    """
    try:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError
    except ImportError:
        raise BenchError(
            '--slurm needs submitit: pip install "efficientsam-bench[sweep]", or use --print-sbatch'
        ) from None

    more = {name: value if equals else True for name, equals, value in (one.partition("=") for one in how.options)}
    try:
        executor = submitit.AutoExecutor(logs.absolute(), cluster=CLUSTER)
        executor.update_parameters(
            name=NAME, timeout_min=how.minutes, slurm_stderr_to_stdout=True, slurm_additional_parameters=more
        )
        with executor.batch():
            submitted = [executor.submit(Resumable(tuple(job), environment())) for job in jobs]
        array = submitted[0].job_id.partition("_")[0]
        executor.update_parameters(slurm_dependency=f"afterany:{array}")
        return array, executor.submit(Resumable(tuple(last), environment())).job_id
    except (FailedJobError, FailedSubmissionError) as error:
        raise BenchError(f"Slurm refused the jobs ({error}): mend --sbatch or --hours") from error
    except RuntimeError as error:
        raise BenchError(f"there is no Slurm here ({error}): log in to the cluster, or use --print-sbatch") from error
