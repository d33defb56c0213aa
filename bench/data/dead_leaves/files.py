"""How worlds get onto the disk: drawn by all cores, in order, and put into place whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from bench.paths import cache_dir
from bench.progress import progress
from bench.store.disk import disk_errors, sweep, temporary_beside
from bench.store.owners import current_owner, pid_exists

T = TypeVar("T")


def drawn(draw: Callable[[int], T], count: int) -> Iterator[T]:
    """Yield draw(0), ..., draw(count - 1), drawn by as many processes as there are cores."""
    with (
        get_context("spawn").Pool(os.cpu_count()) as pool,
        progress("drawing dead leaves", total=count, unit="scenes") as advance,
    ):
        for scene in pool.imap(draw, range(count), chunksize=32):
            yield scene
            advance(1)


def rendered(name: str, render: Callable[[Path], None]) -> Path:
    """Return a folder of the cache, rendering it first if it is not there."""
    root = cache_dir() / "dead_leaves" / name
    _sweep(root.parent)
    with disk_errors(root, "BENCH_CACHE"):
        there = root.exists()
    if not there:
        render(root)
    return root


@contextmanager
def whole_or_not_at_all(folder: Path) -> Iterator[Path]:
    """Offer a folder beside `folder` that becomes it at the end; if the block raises, nothing is left."""
    _sweep(folder.parent)
    unfinished = temporary_beside(folder, current_owner())
    try:
        with disk_errors(folder, "BENCH_CACHE"):
            unfinished.mkdir(parents=True, exist_ok=True)
            yield unfinished
            try:
                unfinished.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
                # Another process was faster, with the same bytes.
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half drawn, also under the names of earlier versions, <name>.<pid>.part."""
    sweep(folder)
    for left in folder.glob("*.part"):
        pid = left.suffixes[-2][1:] if len(left.suffixes) > 1 else ""
        if pid.isascii() and pid.isdigit() and not pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
