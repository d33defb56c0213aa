"""Checkpoints of a training that are whole: a manifest, written last, has the hash of every file and of itself.

Reading one runs nothing in it. Optimisers are torch files of tensors alone; what else a training has to remember is
JSON: accelerate's own files of random numbers and schedulers are pickles, which anyone who makes a folder can make run.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from models.errors import BenchError
from models.files.hashes import hash_file
from models.files.pickles import asked_for, runs_code
from models.files.state_dicts import UNREADABLE, first_line

MANIFEST = "step.json"
_OURS = "give a folder that `bench` wrote"


def seal(folder: Path, facts: dict[str, Any]) -> None:
    """Write the manifest of a checkpoint whose other files are all there.

    Args:
        folder: of the checkpoint.
        facts: what else the manifest says, which JSON can hold.
    """
    files = {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    content = {**facts, "files": files}
    part = folder / f"{MANIFEST}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump({**content, "sha256": _own_hash(content)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, folder / MANIFEST)


def check_whole(folder: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint that is as it was written.

    Raises:
        BenchError: if a file is missing, or is not what was written there.
    """
    manifest = folder / MANIFEST
    try:
        content = json.loads(manifest.read_bytes())
        wanted = content.pop("sha256")
        intact = wanted == _own_hash(content)
        files = dict(content["files"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(manifest, first_line(error)) from error
    if not intact:
        raise _damaged(manifest, "it does not agree with itself")
    for name, digest in files.items():
        path = folder / Path(name).name
        try:
            found = hash_file(path)
        except OSError as error:
            raise _damaged(path, error.strerror or str(error)) from error
        if found != digest:
            raise _damaged(path, "its hash is another one")
    return dict(content)


class Found(NamedTuple):
    """A checkpoint that is whole."""

    folder: Path
    manifest: dict[str, Any]
    passed_over: str
    """What is wrong with a newer one, "" if there is none."""


def newest_whole(out: Path) -> Found | None:
    """Return the newest whole checkpoint of a run, None without any.

    Raises:
        BenchError: if there are checkpoints but none is whole.
    """
    damage: BenchError | None = None
    for folder in (out / "checkpoint", out / "checkpoint.old"):
        if not folder.exists():
            continue
        try:
            return Found(folder, check_whole(folder), str(damage or ""))
        except BenchError as error:
            damage = damage or error
    if damage is not None:
        raise damage
    return None


def check_runs_nothing(folder: Path) -> None:
    """Make sure that accelerate, which reads what it finds in a checkpoint, finds nothing but tensors.

    Raises:
        BenchError: if a file asks to run code, is a pickle, or cannot be read.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix == ".pkl":
            raise runs_code(path, asked_for(path), _OURS)
        if path.suffix in (".bin", ".pt"):
            check_tensors(path)


def check_tensors(path: Path) -> None:
    """Make sure that a torch file is one of tensors alone, without reading them.

    Raises:
        BenchError: if it asks to run code, or cannot be read.
    """
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UNREADABLE as error:
        if names := asked_for(path):
            raise runs_code(path, names, _OURS) from error
        raise _damaged(path, first_line(error)) from error


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of this process's generators of random numbers, as JSON holds them."""
    version, words, normal = random.getstate()
    kind, keys, position, has_normal, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    states = {
        "python": [version, list(words), normal],
        "numpy": [kind, np.asarray(keys).tolist(), position, has_normal, cached],
        "torch": _to_text(torch.get_rng_state()),
    }
    if device.type != "cpu":
        states["device"] = _to_text(torch.get_device_module(device).get_rng_state())
    return states


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Go on with random numbers where `random_states` was called; a device's only if it was of one."""
    version, words, normal = states["python"]
    random.setstate((version, tuple(words), normal))
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(_from_text(states["torch"]))
    if device.type != "cpu" and "device" in states:
        torch.get_device_module(device).set_rng_state(_from_text(states["device"]))


def _to_text(state: torch.Tensor) -> str:
    return bytes(state.cpu().tolist()).hex()


def _from_text(text: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(text)), dtype=torch.uint8)


def _own_hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _damaged(path: Path, reason: str) -> BenchError:
    return BenchError(
        f"the checkpoint file '{path}' is not as it was written ({reason}): restore it from a copy, or move "
        f"'{path.parent}' away to go on from an older checkpoint or to begin again"
    )
