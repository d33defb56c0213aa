"""How worlds get onto the disk: drawn by all cores, in order, and put into place whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from bench.paths import cache_dir
from bench.progress import progress
from bench.store.disk import disk_errors, sweep, temporary_beside
from bench.store.owners import current_owner, pid_exists

T = TypeVar("T")

_AT_ONCE = 32
"""Scenes that a process draws before it is given others; so few are not worth starting one."""


def drawn(draw: Callable[[int], T], count: int) -> Iterator[T]:
    """Yield draw(0), ..., draw(count - 1), drawn by as many processes as there are cores, or here if they are few."""
    with ExitStack() as stack:
        scenes: Iterator[T] = map(draw, range(count))
        if count > _AT_ONCE:
            pool = stack.enter_context(get_context("spawn").Pool(os.cpu_count()))
            scenes = pool.imap(draw, range(count), chunksize=_AT_ONCE)
        advance = stack.enter_context(progress("drawing dead leaves", total=count, unit="scenes"))
        for scene in scenes:
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
