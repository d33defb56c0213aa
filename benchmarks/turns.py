"""Ways that are compared, each in processes of its own with the environment that it is meant for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bench.env import ENV

WORKER = "--worker"
"""First argument of a benchmark's script that does one way's work instead of comparing."""


def own_process(script: str, *given: object, published: bool) -> str:
    """Run a benchmark's script as a worker and return what it prints.

    Args:
        script: its path.
        given: its arguments after `WORKER`.
        published: whether with the allocator that the published code is published with, else with what `bench` sets.

    Raises:
        SystemExit: with what it said, if it failed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ENV}
    environment |= {} if published else ENV
    environment["OMP_WAIT_POLICY"] = "passive"  # of the machine, not of a way: other processes' noise
    command = [sys.executable, script, WORKER, *map(str, given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def keep(answers: Path, found: np.ndarray) -> None:
    """Write a way's answers for the comparison."""
    np.savez_compressed(answers, answers=found)


def differing(published: Path, found: Path) -> float:
    """Return the share of mask pixels that differ, or of features the largest error over the largest value."""
    first, second = (np.load(path)["answers"] for path in (published, found))
    if first.dtype == np.bool_:
        return float((first != second).mean())
    return float(np.abs(first - second).max() / np.abs(first).max())
