"""What one image takes where there are many, against where there are few. Run `python benchmarks/per_image.py`."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from bench.data.dead_leaves import coco, draw_scene
from bench.data.dead_leaves.crowded import COCO_FILE, write_world
from bench.data.dead_leaves.files import drawn
from bench.data.own import OwnData
from bench.env import ENV
from bench.progress import images_progress
from bench.provenance import provenance
from bench.store import RunStore
from models.speed import forget_peak, peak
from protocols import tables
from protocols.settings import Settings
from protocols.table import ask_tables, make_tables

WORLD = 40
"""Seed of the scenes; no other kind of scene has it."""
WARM_UP = 8
"""Images that are asked about before the clock runs."""
Clock = Literal["wall", "cpu"]
CLOCKS: tuple[Clock, ...] = ("wall", "cpu")


class Measured(NamedTuple):
    """What a table took over some images, in a process of its own."""

    seconds: dict[str, np.ndarray]
    """Of `CLOCKS`, float64 [2], by step: ask, score."""
    peak_gb: float
    """The most memory the process held, libraries included; 0 where the system does not say."""


def main(
    table: Annotated[tuple[Literal["table4", "table5"], ...], tyro.conf.arg(metavar="{table4,table5} ...")] = (
        "table4",
        "table5",
    ),
    model: str = "efficientsam-ti-micro",
    few: int = 100,
    many: int = 1_000,
    rounds: int = 1,
    clock: Clock = "wall",
    folder: Path | None = None,
    out: Path | None = None,
) -> None:
    """Measure time and peak memory an image over few and over many images, of Tables 4 and 5 as `bench run` makes them.

    The images are dead leaves of 256 px, drawn into a temporary folder; Table 5's boxes are jittered truths. Asking
    runs from opened data to records in the run store, scoring from records to the finished table. Few and many take
    turns, each in a process of its own.

    Args:
        table: Which.
        model: Of `bench list`.
        few: Images of the shorter run.
        many: Images of the longer one.
        rounds: Turns of each; medians count.
        clock: What counts as a second in the table: one on the clock, or one of a core's work, of all cores together,
            which says more where other work runs on the same cores. The JSON has both.
        folder: For the temporary files, 0.2 MB an image. Default: the system's.
        out: A JSON file for the figures and the machine.
    """
    found: dict[tuple[str, int], list[Measured]] = {(name, count): [] for name in table for count in (few, many)}
    with tempfile.TemporaryDirectory(prefix="per-image-", dir=folder) as temporary:
        # Read by the C library and by torch when the processes start.
        os.environ |= dict(ENV) | {"BENCH_CACHE": str(Path(temporary) / "cache")}
        world = Path(temporary) / "world"
        _draw(world, many)
        for turn in range(rounds):
            for (name, count), measured in found.items():
                store = Path(temporary) / f"{name}-{count}-{turn}"
                measured.append(_alone(name, model, count, world, store))
    figures = [_figures(name, count, measured) for (name, count), measured in found.items()]
    _show(figures, model, clock)
    if out is not None:
        content = {"model": model, "clock": clock, "figures": figures, "made_with": provenance()}
        out.write_text(json.dumps(content, indent=1) + "\n")


def _draw(root: Path, count: int) -> None:
    """Write scenes as COCO has its files."""
    scenes = list(drawn(partial(draw_scene, WORLD), count))
    write_world(root, [scene.image for scene in scenes], {COCO_FILE: coco.instances(scenes)})


def _alone(*arguments: Any) -> Measured:
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, *arguments).result()


def _measure(name: str, model: str, count: int, world: Path, store: Path) -> Measured:
    """Ask a model for a table over the first images, and score it."""
    modules, cpu = [tables.find(name)], torch.device("cpu")
    settings = Settings(
        store=RunStore(store / "measured"),
        progress=images_progress,
        scale="micro",
        models=(model,),
        limit=count,
        data=OwnData("coco", world / COCO_FILE, world / "coco" / "val2017"),
        say=lambda line: None,
    )
    make_tables(modules, replace(settings, store=RunStore(store / "warm-up"), limit=WARM_UP))
    forget_peak(cpu)
    started = _now()
    ask_tables(modules, settings)
    asked = _now()
    make_tables(modules, settings)  # of the records, which are there
    return Measured({"ask": asked - started, "score": _now() - asked}, peak(cpu) / 2**30)


def _now() -> np.ndarray:
    """Return the time in seconds, by the clock and of all cores together, float64 [2]."""
    return np.array([time.perf_counter(), time.process_time()])


def _figures(name: str, images: int, measured: Sequence[Measured]) -> dict[str, Any]:
    """Return medians as plain values."""
    figures: dict[str, Any] = {"table": name, "images": images}
    for step in measured[0].seconds:
        middle = np.median([one.seconds[step] for one in measured], axis=0)
        figures[step] = {clock: 1e3 * seconds / images for clock, seconds in zip(CLOCKS, middle.tolist(), strict=True)}
    return figures | {"peak_gb": float(np.median([one.peak_gb for one in measured]))}


def _show(figures: Sequence[dict[str, Any]], model: str, clock: Clock) -> None:
    unit = "ms" if clock == "wall" else "ms of a core"
    shown = Table(title=f"{model}: {unit} an image, {torch.get_num_threads()} threads", box=None)
    for heading in ("table", "images", "ask", "score", "both", "peak GB"):
        shown.add_column(heading, justify="left" if heading == "table" else "right")
    for few, many in zip(figures[::2], figures[1::2], strict=True):
        rows = [(one["ask"][clock], one["score"][clock], one["peak_gb"]) for one in (few, many)]
        for one, (ask, score, memory) in zip((few, many), rows, strict=True):
            values = (f"{ask:.1f}", f"{score:.1f}", f"{ask + score:.1f}", f"{memory:.2f}")
            shown.add_row(one["table"], f"{one['images']:,}", *values)
        (ask, score, memory), (asks, scores, memories) = rows
        ratios = (asks / ask, scores / score, (asks + scores) / (ask + score), memories / memory)
        shown.add_row("", "ratio", *(f"{ratio:.2f}" for ratio in ratios))
    Console().print(shown)


if __name__ == "__main__":
    tyro.cli(main)
