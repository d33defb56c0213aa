"""`bench engines`: what the engines of `bench run` are worth on this machine."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from bench.cli.as_json import AsJson, print_json
from bench.data.dead_leaves.scene import draw_scene
from bench.data.images import read_rgb
from bench.progress import progress
from models import zoo
from models.engines.audit import BUDGET, Rung, audit
from models.engines.names import ENGINES
from models.errors import BenchError
from models.segmenter import Prompts

SCENE = (4, 0)
"""(world, number) of the dead leaves that are looked at where no photo is given; nobody trains on them."""
WIDTH = 150
"""Columns where the output is no terminal."""
MOST = 16
"""Prompts."""


def engines(
    models: tyro.conf.Positional[tuple[str, ...]] = ("efficientsam-ti-micro", "mobilesam-micro", "sam-micro"),
    photo: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Prove that the engines agree on this machine, and say how fast each is.

    Every engine answers sixteen boxes about one image, and so does the network in float64. The table shows how far each
    engine is from it: in the encoder's worst layer, in logits and predicted IoU, in the pixels of masks, and in mIoU.
    Ends with exit code 1 if an engine is further off than it may be.

        bench engines
        bench engines efficientsam-ti sam-vit-b --photo cat.jpg

    Args:
        models: Names of `bench list`. Full-size ones whose weights are not here get random ones.
        photo: A photo to look at in place of dead leaves; boxes are then random, and there is no mIoU.
        as_json: Print the figures as JSON.
    """
    image, prompts, truths = _question(photo)
    rungs: list[Rung] = []
    with progress("engines", total=len(models), unit="models") as advance:
        for name in models:
            rungs += audit(lambda name=name: _loaded(name), image, prompts, truths)  # type: ignore[misc]
            advance(1)
    if as_json:
        print_json([asdict(rung) | {"holds": rung.holds} for rung in rungs])
    else:
        _print(rungs)
    wrong = [f"{rung.engine} of {rung.model}" for rung in rungs if not rung.holds]
    if wrong:
        raise BenchError(f"{', '.join(wrong)} is further from float64 than it may be: do not trust it here")


def _loaded(name: str) -> Any:
    if zoo.available(name)[0]:
        return zoo.load(name)
    torch.manual_seed(0)  # the same random weights for every engine
    return zoo.untrained(name)


def _question(photo: Path | None) -> tuple[np.ndarray, Prompts, np.ndarray | None]:
    """Return an image uint8 [H, W, 3], boxes on it, and the objects in them, bool [P, H, W], if they are known."""
    if photo is not None:
        image = read_rgb(photo)
        corners = np.random.default_rng(0).uniform(0, 1, (MOST, 2, 2)) * (image.shape[1], image.shape[0])
        return image, Prompts.from_boxes(np.sort(corners, axis=1).reshape(-1, 4)), None
    scene = draw_scene(*SCENE)
    truths = np.stack([scene.mask(number) for number in scene.objects()[:MOST]])
    return scene.image, Prompts.from_boxes([_box(mask) for mask in truths]), truths


def _box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return the tight box (xyxy, px) of a mask bool [H, W]."""
    y, x = np.nonzero(mask)
    return float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)


def _print(rungs: list[Rung]) -> None:
    table = Table(title=f"Engines against float64, {torch.get_num_threads()} threads", box=None)
    for heading in ("model", "engine"):
        table.add_column(heading, no_wrap=True)
    for heading in ("worst layer", "logits", "predicted IoU", "pixels", "masks equal", "mIoU", "embed ms", "prompt ms"):
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True)
    for rung in rungs:
        table.add_row(
            rung.model,
            rung.engine,
            f"{rung.layer_error:.0e} ({rung.worst_layer})",
            f"{rung.logits_error:.0e}",
            f"{rung.iou_error:.0e}",
            f"{rung.pixels:.0e}",
            f"{rung.same_masks}/{rung.prompts}",
            "" if np.isnan(rung.miou) else f"{rung.miou:+.3f}",
            f"{rung.embed_ms:.1f}",
            f"{rung.prompt_ms:.2f}",
            "holds" if rung.holds else "too far off",
        )
    console = Console()
    console = console if console.is_terminal else Console(width=WIDTH)
    console.print(table)
    for name, what in ENGINES.items():
        logits, pixels = BUDGET[name]
        console.print(
            f"{name}: {what}; may be off by {logits:g} in logits and {pixels:g} of the pixels", highlight=False
        )
    console.print("errors are the largest difference over the largest value; times are medians, see nox -s benchmarks")
