"""What runs a folder holds, a line each: `bench runs`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.store import manifest
from bench.store.runs import RunStore
from models.errors import BenchError, refused


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of `bench runs`."""

    fingerprint: str
    identity: dict[str, Any]
    done: int
    """Shards that are finished."""
    shards: int
    bytes: int
    """Size of the finished shards."""
    last_write: datetime
    """When a shard or run.json was last written, UTC."""
    problem: str = ""
    """Why the run cannot be opened, empty if it can."""


def list_runs(root: Path | str | None = None) -> list[RunSummary]:
    """List the runs under `root` (as `RunStore` finds it), latest write first; other files are ignored."""
    folder = RunStore(root).root
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.exists() else []
    except OSError as error:
        raise refused(error, folder) from error
    runs = [run for path in found if (run := _listed(path)) is not None]
    return sorted(runs, key=lambda run: run.last_write, reverse=True)


def _listed(folder: Path) -> RunSummary | None:
    """Return a folder's line, also where it cannot be looked into; None if it is no run."""
    try:
        return _summary(folder) if (folder / manifest.FILE).exists() else None
    except OSError as error:
        never = datetime.fromtimestamp(0, UTC)
        return RunSummary(folder.name, {}, 0, 0, 0, never, str(refused(error, folder)))


def _summary(folder: Path) -> RunSummary:
    shards = list(folder.glob("shard-?????*.parquet"))
    stats = [path.stat() for path in shards]
    done = len({path.name[: len("shard-00000")] for path in shards})  # one may be there of several contents
    written = max(stat.st_mtime for stat in [*stats, (folder / manifest.FILE).stat()])
    last_write = datetime.fromtimestamp(written, UTC)
    size = sum(stat.st_size for stat in stats)
    try:
        found = manifest.read(folder)
    except BenchError as error:
        return RunSummary(folder.name, {}, done, 0, size, last_write, str(error))
    return RunSummary(folder.name, found.identity, done, found.shards, size, last_write)
