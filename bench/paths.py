"""Where data, weights and caches live: three environment variables and their defaults."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def _from_environment(variable: str) -> Path | None:
    """Return the folder an environment variable names, None if it is unset or empty."""
    value = os.environ.get(variable, "").strip()
    return Path(value).expanduser().absolute() if value else None


def data_root() -> Path | None:
    """Return the folder of the published data sets: BENCH_DATA, or None where there are none."""
    return _from_environment("BENCH_DATA")


def cache_dir() -> Path:
    """Return the folder of everything that can be made again: BENCH_CACHE, else the user's cache folder."""
    return _from_environment("BENCH_CACHE") or Path(platformdirs.user_cache_dir("efficientsam-bench", appauthor=False))


def weights_root() -> Path:
    """Return the folder of downloaded checkpoints: BENCH_WEIGHTS, else `weights` in the cache."""
    return _from_environment("BENCH_WEIGHTS") or cache_dir() / "weights"
