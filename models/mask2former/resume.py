"""Checkpoints of mmengine's Runner that survive a kill: the newest whole one is found, and loaded as tensors alone."""

from __future__ import annotations

import json
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from models.errors import BenchError
from models.files.state_dicts import first_line
from models.training.loop import plain_recipe
from models.training.recipes import Recipe
from models.training.whole import check_tensors

KEPT = 2
"""Checkpoints on disk: mmengine removes the oldest before it writes a new one."""


def newest(out: Path) -> Path | None:
    """Return the newest whole checkpoint of a run, None if it has none yet; a damaged one is told on stderr.

    Every part of a whole one has the checksum that torch wrote beside it. A file that a kill cut short has no zip
    directory, which stands at the end; if that is the first of a run, the run begins again.

    Raises:
        BenchError: if there are checkpoints but none is whole, or the newest asks to run code.
    """
    found = sorted((p for p in out.glob("iter_*.pth") if _iteration(p) > 0), key=_iteration, reverse=True)
    damaged = [f"the checkpoint file '{path}' is missing" for path in _promised(out) if not path.exists()]
    for path in found:
        if reason := _damage(path):
            damaged.append(f"the checkpoint file '{path}' is not as it was written ({reason})")
            continue
        check_tensors(path)
        if damaged:
            print(f"{damaged[0]}; going on from {path}", file=sys.stderr)
        return path
    if damaged and (len(found) != 1 or zipfile.is_zipfile(found[0])):
        raise BenchError(f"{damaged[0]}: restore it from a copy, or move {out} away to begin again")
    if damaged:
        print(f"{damaged[0]}; beginning again", file=sys.stderr)
    return None


def _promised(out: Path) -> list[Path]:
    """Return the checkpoint that mmengine noted as the last one it wrote, if it did."""
    try:
        return [out / Path((out / "last_checkpoint").read_text(encoding="utf-8").strip()).name]
    except (OSError, ValueError):
        return []


def _damage(path: Path) -> str:
    """Return what is wrong with a torch file, "" if nothing is."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        return str(error)
    return f"{broken} has another checksum" if broken else ""


def semantic_steps_done(out: Path) -> int:
    """Return how many steps the newest checkpoint of a run has done, 0 without one.

    Raises:
        BenchError: see `newest`.
    """
    return steps_of(newest(out))


def steps_of(checkpoint: Path | None) -> int:
    """Return how many steps a checkpoint has done, 0 for none."""
    return 0 if checkpoint is None else _iteration(checkpoint)


def begin(recipe: Recipe, out: Path) -> Path | None:
    """Note the recipe of a run that begins, or compare it with the one it began with; return its newest checkpoint.

    Raises:
        BenchError: if they differ, or the run is damaged, see `newest`.
    """
    path, plain, start = out / "recipe.json", plain_recipe(recipe), newest(out)
    if start is None:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plain, indent=1) + "\n")
        return None
    try:
        same = json.loads(path.read_bytes()) == plain
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} cannot be read ({error}): restore it, or move {out} away to begin again") from error
    if not same:
        raise BenchError(f"{start} was made by another recipe: name another folder, or move {out} away")
    return start


def load_weights(network: torch.nn.Module, out: Path) -> None:
    """Load the newest checkpoint's weights into a network.

    Raises:
        BenchError: if there is none.
    """
    path = newest(out)
    if path is None:
        raise BenchError(f"{out} has no checkpoint: train first")
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    try:
        network.load_state_dict(checkpoint["state_dict"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise BenchError(f"{path} is no checkpoint of this network ({first_line(error)}): name another one") from error


def _iteration(path: Path) -> int:
    """Return the number in a checkpoint's name, -1 for other files."""
    number = path.stem.removeprefix("iter_")
    return int(number) if number.isdecimal() else -1
