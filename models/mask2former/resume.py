"""Checkpoints of mmengine's Runner that survive a kill: the newest whole one is found, and loaded as tensors alone."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import torch

from models.errors import BenchError
from models.training.loop import plain_recipe
from models.training.recipes import Recipe

KEPT = 2
"""Checkpoints on disk: mmengine removes the oldest before it writes a new one."""


def newest(out: Path) -> Path | None:
    """Return the newest checkpoint of a run that was written to its end, None if there is none.

    A file that a kill cut short has no zip directory, which stands at the end.
    """
    found = sorted(out.glob("iter_*.pth"), key=_iteration, reverse=True)
    return next((path for path in found if zipfile.is_zipfile(path)), None)


def semantic_steps_done(out: Path) -> int:
    """Return how many steps the newest checkpoint of a run has done, 0 without one."""
    path = newest(out)
    return 0 if path is None else _iteration(path)


def check_recipe(recipe: Recipe, out: Path) -> None:
    """Note the recipe of a run that begins, or compare it with the one it began with.

    Raises:
        BenchError: if they differ.
    """
    path, plain = out / "recipe.json", plain_recipe(recipe)
    if newest(out) is None:
        out.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plain, indent=1) + "\n")
    elif json.loads(path.read_text()) != plain:
        raise BenchError(f"{newest(out)} was made by another recipe: remove {out} to start again")


def load_weights(network: torch.nn.Module, out: Path) -> None:
    """Load the newest checkpoint's weights into a network.

    Raises:
        BenchError: if there is none.
    """
    path = newest(out)
    if path is None:
        raise BenchError(f"{out} has no checkpoint: train first")
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict(checkpoint["state_dict"])


def _iteration(path: Path) -> int:
    return int(path.stem.removeprefix("iter_"))
