"""Folders that a user names: by an environment variable, by an option, or by having a home."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from models.errors import BenchError


def expanded(path: str | os.PathLike[str], what: str) -> Path:
    """Return a path with its ~ replaced.

    Args:
        path: as the user gave it.
        what: the variable or option, for the error message.

    Raises:
        BenchError: if it begins with the home of a user whom this machine does not know.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise BenchError(
            f"{what} is '{os.fspath(path)}', but this machine knows no such home folder: write the path from / on"
        ) from None


def from_environment(variable: str) -> Path | None:
    """Return the folder that an environment variable names, None if it is unset or empty.

    Raises:
        BenchError: see `expanded`.
    """
    value = os.environ.get(variable, "").strip()
    return expanded(value, variable).absolute() if value else None


def cache_folder() -> Path:
    """Return the folder of everything that can be made again: BENCH_CACHE, else the user's cache folder.

    Raises:
        BenchError: if there is neither, as for a container's user without a home.
    """
    chosen = from_environment("BENCH_CACHE")
    if chosen is not None:
        return chosen
    try:
        return Path(platformdirs.user_cache_dir("efficientsam-bench", appauthor=False))
    except RuntimeError:
        raise BenchError("this user has no home folder, so there is no cache: set BENCH_CACHE to a folder") from None


def weights_folder() -> Path:
    """Return the folder of downloaded checkpoints: BENCH_WEIGHTS, else `weights` in the cache.

    Raises:
        BenchError: see `cache_folder`.
    """
    return from_environment("BENCH_WEIGHTS") or cache_folder() / "weights"
