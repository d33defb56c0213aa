"""`bench data`: what is on disk, whole or not, and what to download from where."""

from __future__ import annotations

from pathlib import Path

import tyro

from bench import data, paths
from bench.data.dead_leaves import world_root
from models.errors import BenchError


def verify(names: tyro.conf.Positional[tuple[str, ...]] = ("coco", "lvis"), root: Path | None = None) -> None:
    """Check data sets: layout, counts, image files, and hashes where any were published.

    Args:
        names: coco, lvis, coco-boxes, lvis-boxes, ade20k, imagenet or sa1b.
        root: Folder of the data sets; $BENCH_DATA if not given.
    """
    folder = root or paths.data_root()
    if folder is None:
        raise BenchError("no data folder: set BENCH_DATA or give --root; `bench run --scale micro` needs none")
    reports = [data.verify(name, folder) for name in names]
    for report in reports:
        word = "complete" if report.complete else "usable" if report.ok else "NOT USABLE"
        print(f"{report.name}: {word}")
        for line in report.lines:
            print(f"  {line}")
    if not all(report.ok for report in reports):
        raise SystemExit(1)


def render() -> None:
    """Draw the dead leaves, the micro scale's data, into the cache and say where they are."""
    print(world_root())
