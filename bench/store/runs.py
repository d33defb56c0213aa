"""The run store: `runs/<fingerprint>/`, where a killed run resumes and nothing finished is computed twice.

A run is what its identity says (protocol version, axes, model, data, ...), cut into shards. A shard is a
parquet file that is there whole or not at all, so its presence is the only record of progress, and any number
of processes may work on one run. A shard may be named after the content it was made from: where that changes,
this shard alone is made anew.

    run = RunStore().open(identity, shards=12, provenance=provenance())
    while pending := run.wait_for_all():
        for shard in pending:
            with run.writing(shard) as claimed:
                if claimed:
                    run.write(shard, compute(shard))
    records = run.read()
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from bench.paths import runs_root
from bench.progress import notice
from bench.store import locks, manifest
from bench.store import shards as parquet
from bench.store.disk import disk_errors, sweep, write_whole
from bench.store.identity import canonical_json, fingerprint
from models.errors import BenchError

PATIENCE_S = 1.0
"""Wait for other processes that nothing is said about."""


class RunStore:
    """All runs under one folder: `root`, else $BENCH_RUNS, else ./runs."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root) if root else runs_root()

    def open(
        self,
        identity: Mapping[str, Any],
        shards: int,
        *,
        contents: Sequence[str] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Run:
        """Open the run of this identity, making it if there is none, and set damaged shards aside.

        A finished run is opened without writing, so it may lie on a read-only disk.

        Args:
            identity: everything that could change a record, as plain values; a change makes another run.
            shards: number of pieces, at least 1; it belongs to the run and stays.
            contents: of each shard, letters and digits that stand for the content it is made from; a shard that
                was made from another content stays where it is, and is another shard.
            provenance: of this session; kept in run.json once this session writes a shard.

        Raises:
            BenchError: if identity or provenance hold values JSON cannot, if the run exists with another
                number of shards, or if the disk refuses.
        """
        plain = json.loads(canonical_json(identity))
        session = None if provenance is None else json.loads(canonical_json(provenance, what="provenance"))
        if shards < 1:
            raise BenchError(f"a run needs at least 1 shard, got {shards}: check that the data set is not empty")
        names = [f"-{content}" for content in contents] if contents is not None else [""] * shards
        return Run(self.root / fingerprint(plain), plain, names, session)


class Run:
    """One run on disk. Several objects, threads and processes may hold the same run."""

    fingerprint: str
    path: Path
    shards: int
    resumed: int
    """Shards that were finished when this object opened the run."""
    set_aside: tuple[Path, ...]
    """Damaged shards that this object renamed; they are computed again."""

    def __init__(
        self, path: Path, identity: dict[str, Any], names: Sequence[str], session: dict[str, Any] | None
    ) -> None:
        """Use `RunStore.open`."""
        self.fingerprint, self.path, self.shards = path.name, path, len(names)
        self._names = tuple(names)
        self.set_aside = ()
        self._session = session
        self._claimed: set[int] = set()
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        manifest.join_or_make(path, self.fingerprint, identity, self.shards)
        sweep(path)
        for shard in sorted(self._done()):
            self._set_aside_if_damaged(shard)
        self.resumed = len(self._done())

    def shard_path(self, shard: int) -> Path:
        """Return where shard number `shard` is or will be.

        Raises:
            BenchError: if the run has no such shard.
        """
        if not 0 <= shard < self.shards:
            raise BenchError(f"run {self.fingerprint} has no shard {shard}: ask for 0 to {self.shards - 1}")
        return self.path / f"shard-{shard:05d}{self._names[shard]}.parquet"

    def pending(self) -> list[int]:
        """Return the shards that are not finished now, whoever may be working on them."""
        done = self._done()
        return [shard for shard in range(self.shards) if shard not in done]

    @contextmanager
    def writing(self, shard: int) -> Iterator[bool]:
        """Claim a shard for this block; yields False if it is finished or a living process has it.

        Raises:
            BenchError: if the run has no such shard, or the disk refuses.
        """
        path = self.shard_path(shard)
        lock = None if path.exists() else locks.acquire(self._lock_path(shard))
        if lock is None:
            yield False
            return
        try:
            # It may have been finished between the look and the lock.
            if path.exists():
                yield False
                return
            self._claimed.add(shard)
            yield True
        finally:
            self._claimed.discard(shard)
            lock.release()

    def write(self, shard: int, frame: pd.DataFrame) -> None:
        """Write the records of a shard, whole or not at all; without a claim, claim it for the moment.

        Raises:
            BenchError: if the shard is finished and holds other records, if another process is writing it,
                if the frame is not plain columns, or if the disk is full or refuses: then nothing of the
                shard is left, and the other shards stay.
        """
        data = parquet.encode(frame)
        if shard in self._claimed:
            self._put(shard, data)
            return
        with self.writing(shard) as claimed:
            if not claimed and not self.shard_path(shard).exists():
                owner = locks.holder(self._lock_path(shard)) or "another process"
                raise BenchError(f"{self.shard_path(shard)} is being written by {owner}: let that finish")
            self._put(shard, data)

    def take_over(self, shard: int, path: Path) -> None:
        """Take a finished shard of another run as it is, byte for byte; nothing if this run has that shard.

        Raises:
            BenchError: if that file is damaged, if another process is writing the shard, or if the disk refuses.
        """
        try:
            parquet.read(path)
        except parquet.DamagedShard as damage:
            raise BenchError(f"{damage}: delete it, its run computes it again") from damage
        with self.writing(shard) as claimed:
            if claimed:
                self._put(shard, path.read_bytes())
            elif not self.shard_path(shard).exists():
                owner = locks.holder(self._lock_path(shard)) or "another process"
                raise BenchError(f"{self.shard_path(shard)} is being written by {owner}: let that finish")

    def adopted(self) -> tuple[dict[str, Any], ...]:
        """Return what sessions say of runs whose shards they took over, the first first."""
        sessions = manifest.read(self.path).sessions
        return tuple(found for session in sessions if isinstance(found := session.get(manifest.ADOPTED), dict))

    def read(self) -> pd.DataFrame:
        """Return the records of all shards in order, with a fresh index.

        Raises:
            BenchError: if shards are missing, damaged (they are set aside), or do not fit together.
        """
        if missing := self.pending():
            raise BenchError(
                f"run {self.path} lacks {len(missing)} of {self.shards} shards ({_some(missing)}): "
                "run the same command again to compute them"
            )
        paths = [self.shard_path(shard) for shard in range(self.shards)]
        tables = []
        for shard, path in enumerate(paths):
            try:
                tables.append(parquet.read(path))
            except parquet.DamagedShard as damage:
                self._set_aside_if_damaged(shard, thorough=True)
                raise BenchError(
                    f"{path} is damaged and was set aside: run the same command again to recompute it"
                ) from damage
        return parquet.join(tables, paths)

    def forget(self, column: str, outdated: Callable[[int, pd.DataFrame], bool]) -> None:
        """Remove those finished shards that are outdated, so that they are computed again.

        Args:
            column: of texts; only shards in which one is not empty are looked at.
            outdated: (shard, records) -> whether to remove it. Asked again before it is, since another process may
                have computed it anew meanwhile.

        Raises:
            BenchError: if the disk refuses.
        """
        for shard in sorted(self._done()):
            path = self.shard_path(shard)
            try:
                if not parquet.has_text(path, column) or not outdated(shard, parquet.read(path).to_pandas()):
                    continue
                with locks.locked(self.path / manifest.LOCK), disk_errors(path):
                    if path.exists() and outdated(shard, parquet.read(path).to_pandas()):
                        path.unlink()
            except parquet.DamagedShard:
                self._set_aside_if_damaged(shard, thorough=True)

    def wait_for_all(
        self, timeout_s: float | None = None, poll_s: float = 1.0, say: Callable[[str], None] = notice
    ) -> list[int]:
        """Wait until every shard is finished, or some are nobody's.

        Args:
            timeout_s: after which living processes are an error, None to wait as long as they live.
            poll_s: between two looks.
            say: told once for whom we wait, unless that takes less than `PATIENCE_S`.

        Returns:
            Unfinished shards that no living process holds, for the caller to compute; empty once all are in.

        Raises:
            BenchError: if living processes still hold shards after `timeout_s` seconds.
        """
        start, told = time.monotonic(), False
        deadline = None if timeout_s is None else start + timeout_s
        while missing := self.pending():
            owners = {shard: locks.holder(self._lock_path(shard)) for shard in missing}
            # Owners finish a shard before they let go of it, so this order of questions misses none.
            free = [shard for shard in missing if owners[shard] is None and not self.shard_path(shard).exists()]
            if free:
                return free
            busy = [shard for shard in missing if owners[shard] is not None]
            if busy and deadline is not None and time.monotonic() > deadline:
                raise BenchError(
                    f"run {self.path} lacks shards {_some(busy)} after {timeout_s:g} s, of which "
                    f"{owners[busy[0]]} has {busy[0]}: wait longer, or end that process and run again"
                )
            if busy and not told and time.monotonic() > start + PATIENCE_S:
                say(
                    f"waiting for {owners[busy[0]]}, which has shard {busy[0]} of run {self.path}: this goes on once "
                    f"that finishes or dies; if it is gone for good, delete {self._lock_path(busy[0])}"
                )
                told = True
            time.sleep(poll_s)
        return []

    def _lock_path(self, shard: int) -> Path:
        return self.shard_path(shard).with_suffix(".lock")

    def _done(self) -> set[int]:
        names = set(os.listdir(self.path))
        return {shard for shard in range(self.shards) if self.shard_path(shard).name in names}

    def _put(self, shard: int, data: bytes) -> None:
        path = self.shard_path(shard)
        if path.exists():
            if path.read_bytes() != data:
                raise BenchError(f"{path} is finished and holds other records: delete it to compute it again")
            return
        if self._session is not None:
            with locks.locked(self.path / manifest.LOCK):
                if self._session is not None:  # another thread of this session may have signed meanwhile
                    manifest.sign(self.path, self._session)
                    self._session = None
        write_whole(path, data)

    def _set_aside_if_damaged(self, shard: int, *, thorough: bool = False) -> None:
        path = self.shard_path(shard)
        look = parquet.read if thorough else parquet.check
        try:
            look(path)
        except parquet.DamagedShard:
            with locks.locked(self.path / manifest.LOCK), disk_errors(path):
                # Look again: another process may have set it aside and computed it anew.
                try:
                    if path.exists():
                        look(path)
                except parquet.DamagedShard:
                    self.set_aside += (_rename_damaged(path),)


def _rename_damaged(path: Path) -> Path:
    number = 0
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return path.rename(aside)


def _some(numbers: Sequence[int], most: int = 8) -> str:
    listed = ", ".join(str(number) for number in numbers[:most])
    return f"{listed}, ..." if len(numbers) > most else listed
