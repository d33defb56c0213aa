"""Runs of the store, found again by their fingerprint, their folder or what they are about; nothing is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.store import manifest
from bench.store import shards as parquet
from bench.store.identity import fingerprint as fingerprint_of
from bench.store.listing import RunSummary, list_runs
from bench.store.runs import RunStore
from models.errors import BenchError, refused, unknown_name

SHARD = re.compile(r"shard-(\d{5})(?:-[0-9a-z]+)?\.parquet")
SHORTEST = 6
"""Characters of a fingerprint that stand for a run, where no other begins with them."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it lies on disk, whoever made it."""

    folder: Path
    identity: Mapping[str, Any]
    """What decides its records: protocol, version, model, data, axes, code, images."""
    paths: Mapping[int, Path]
    """Its finished shards by number: of several that were made from other images, the newest."""
    shards: int
    """How many it has when it is finished."""
    sessions: tuple[Mapping[str, Any], ...]
    """Provenance of those that wrote its shards."""

    @property
    def fingerprint(self) -> str:
        """Return its name in the store, also where its folder is called otherwise."""
        return fingerprint_of(self.identity)

    def shard(self, number: int) -> pd.DataFrame:
        """Return the records of a shard, with the column `skipped` (`protocols.shards.SKIPPED`).

        Raises:
            BenchError: if it is not finished, or damaged.
        """
        if number not in self.paths:
            raise BenchError(f"run {self.folder} has no shard {number}: the same `bench run` again computes it")
        path = self.paths[number]
        try:
            return parquet.read(path).to_pandas()
        except parquet.DamagedShard as damage:
            raise BenchError(
                f"{path} is damaged: the same `bench run` again sets it aside and recomputes it"
            ) from damage

    def records(self) -> pd.DataFrame:
        """Return the records of all shards in order, with a fresh index.

        Raises:
            BenchError: if shards are missing or damaged, or do not fit together.
        """
        if missing := self.shards - len(self.paths):
            raise BenchError(
                f"run {self.folder} lacks {missing} of {self.shards} shards: the same `bench run` again computes them"
            )
        ordered = [self.paths[number] for number in sorted(self.paths)]
        try:
            return parquet.join([parquet.read(path) for path in ordered], ordered)
        except parquet.DamagedShard as damage:
            raise BenchError(f"{damage}: the same `bench run` again sets it aside and recomputes it") from damage


def about(identity: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the table, the model and the data set of a run, each empty where its identity does not say it."""
    parts = (identity.get(key) for key in ("model", "data"))
    model, data = (str(part.get("name", "")) if isinstance(part, dict) else "" for part in parts)
    return str(identity.get("protocol", "")), model, data


def find_run(name: str, store: RunStore | None = None) -> StoredRun:
    """Return the run that a name stands for.

    Args:
        name: a run's folder, its fingerprint or the first characters of it, or TABLE/MODEL or TABLE/MODEL/DATA for the
            finished run of these that was written last, e.g. table4/efficientsam-ti-micro/coco.
        store: where runs lie; by default $BENCH_RUNS, else ./runs.

    Raises:
        BenchError: if there is none or several, or if what is there cannot be read, does not say what it is, or says
            something else than its name.
    """
    folder = Path(name)
    try:
        if (folder / manifest.FILE).is_file():
            return read_run(folder)
    except OSError as error:
        raise refused(error, folder) from error
    store = store or RunStore()
    runs = list_runs(store.root)
    if "/" in name:
        return read_run(store.root / _latest(name, runs, store).fingerprint)
    found = [run.fingerprint for run in runs if run.fingerprint.startswith(name)] if len(name) >= SHORTEST else []
    if len(found) > 1 and name not in found:
        raise BenchError(f"'{name}' begins {len(found)} runs of {store.root}: give more of the fingerprint")
    if not found:
        raise unknown_name("run", name, [run.fingerprint for run in runs])
    return read_run(store.root / (name if name in found else found[0]))


def _latest(name: str, runs: list[RunSummary], store: RunStore) -> RunSummary:
    wanted = name.split("/")
    finished = [run for run in reversed(runs) if not run.problem and run.done == run.shards]
    of = {about(run.identity): run for run in finished}  # of several the newest, which comes last
    found = {key[2]: run for key, run in of.items() if list(key[: len(wanted)]) == wanted}
    if len(found) > 1:
        sets = sorted(found)
        raise BenchError(f"'{name}' has finished runs on {', '.join(sets)}: name one of these, e.g. {name}/{sets[0]}")
    if not found:
        raise BenchError(
            f"{store.root} has no finished run of '{name}': `bench runs` lists what is there, `bench run {wanted[0]} "
            f"--models {wanted[1]}` makes one"
        )
    return next(iter(found.values()))


def read_run(folder: Path) -> StoredRun:
    """Return the run in a folder.

    Raises:
        BenchError: if its run.json is missing, damaged, of another version, or not that of the folder's name.
    """
    found = manifest.read(folder)
    if fingerprint_of(found.identity) != found.fingerprint:
        raise BenchError(f"{folder / manifest.FILE} holds an identity that is not that of run {found.fingerprint}")
    paths: dict[int, Path] = {}
    try:
        shards = sorted(folder.glob("shard-*.parquet"), key=lambda path: path.stat().st_mtime)
    except OSError as error:  # e.g. a link that leads nowhere
        raise refused(error, folder) from error
    for path in shards:
        if (match := SHARD.fullmatch(path.name)) and int(match[1]) < found.shards and not path.is_fifo():
            paths[int(match[1])] = path
    return StoredRun(folder, found.identity, dict(sorted(paths.items())), found.shards, tuple(found.sessions))
