"""Where data, weights, caches and runs live: four environment variables and their defaults."""

from __future__ import annotations

import os
from pathlib import Path

from models.files.folders import cache_folder as cache_dir
from models.files.folders import expanded, from_environment
from models.files.folders import weights_folder as weights_root

__all__ = ["cache_dir", "data_root", "runs_root", "weights_root"]


def data_root() -> Path | None:
    """Return the folder of the published data sets: BENCH_DATA, or None where there are none."""
    return from_environment("BENCH_DATA")


def runs_root() -> Path:
    """Return the folder of all runs: BENCH_RUNS, else `runs` in the current folder."""
    return expanded(os.environ.get("BENCH_RUNS", "").strip() or "runs", "BENCH_RUNS")
