"""run.json: what a run is, and under what circumstances each session added to it."""

from __future__ import annotations

import json
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.store.disk import write_whole
from bench.store.identity import canonical_json
from bench.store.locks import locked
from models.errors import BenchError, refused

SCHEMA_VERSION = 1
"""Of run.json and of the layout of a run's folder."""
FILE = "run.json"
ADOPTED = "adopted"
"""Key of a session's provenance: which run its shards were taken over from, and what was checked before."""
LOCK = "run.lock"
"""Held for the milliseconds in which run.json changes or a damaged shard is set aside."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of run.json, in this order."""

    schema_version: int
    fingerprint: str
    identity: dict[str, Any]
    shards: int
    sessions: list[dict[str, Any]]
    """Provenance of every session that wrote a shard, in the order of their first shards."""


def read(folder: Path) -> Manifest:
    """Read the run.json of a run's folder.

    Raises:
        BenchError: if it cannot be read, is damaged, or was written by another version of the store.
    """
    path = folder / FILE
    try:
        if stat.S_ISFIFO(path.stat().st_mode):  # reading it would wait for somebody to write
            raise ValueError("it is a pipe")
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
        if version == SCHEMA_VERSION:
            found = Manifest(**content)
            _check(found)
            return found
    except OSError as error:
        raise refused(error, path) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BenchError(f"{path} is damaged ({error}): move its folder away to compute the run again") from error
    raise BenchError(f"{path} has schema version {version}, not {SCHEMA_VERSION}: set BENCH_RUNS to another folder")


def _check(found: Manifest) -> None:
    """See whether a run.json holds what its fields are.

    Raises:
        TypeError: if it does not.
    """
    if not isinstance(found.identity, dict):
        raise TypeError("its identity is no object")
    if type(found.shards) is not int or found.shards < 1:
        raise TypeError(f"it says {found.shards!r} shards, a run has at least 1")
    if not isinstance(found.sessions, list) or not all(isinstance(session, dict) for session in found.sessions):
        raise TypeError("its sessions are no list of objects")


def join_or_make(folder: Path, fingerprint: str, identity: dict[str, Any], shards: int) -> None:
    """Check that the folder's run.json is of this run; write it if there is none.

    Raises:
        BenchError: if it is of another identity or has another number of shards, or the disk refuses.
    """
    path = folder / FILE
    if not path.exists():
        with locked(folder / LOCK):
            if not path.exists():
                _write(folder, Manifest(SCHEMA_VERSION, fingerprint, identity, shards, []))
    found = read(folder)
    if canonical_json(found.identity) != canonical_json(identity):
        raise BenchError(f"{path} holds another identity than its folder's name says: move that folder away")
    if found.shards != shards:
        raise BenchError(
            f"{path} says {found.shards} shards, not {shards}: "
            f"open the run with {found.shards}, or delete the folder to compute it again"
        )


def sign(folder: Path, session: dict[str, Any]) -> None:
    """Append a session's provenance; the caller holds the LOCK."""
    found = read(folder)
    _write(folder, replace(found, sessions=[*found.sessions, session]))


def _write(folder: Path, manifest: Manifest) -> None:
    write_whole(folder / FILE, (json.dumps(asdict(manifest), indent=2) + "\n").encode("ascii"))
