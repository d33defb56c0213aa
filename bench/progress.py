"""A progress bar on stderr: a bar on a terminal, a line every ten seconds in a log; nothing on stdout."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from models.errors import printable

LINE_EVERY_S = 10.0
"""Least time between two lines in a log."""

_MB = 1_000_000

Advance = Callable[[int], None]


@contextmanager
def progress(description: str, *, total: int | None, unit: str = "items", done: int = 0) -> Iterator[Advance]:
    """Show the progress of a block, which calls `advance(n)` as it goes, from any thread.

    >>> with progress("sam-micro on coco", total=120, unit="images") as advance:  # doctest: +SKIP
    ...     advance(1)

    Args:
        description: what is going on, in a few words.
        total: how many there are, None if nobody knows.
        unit: what is counted, in the plural.
        done: how many an earlier session did; they count as progress, not towards the rate.
    """
    description = printable(description)
    if sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _screen.bar(description, total, unit, done) as advance:
            yield advance
        return
    log = _Log(description, total, unit, done)
    try:
        yield log.advance
    finally:
        log.end()


def images_progress(description: str, total: int, done: int) -> AbstractContextManager[Advance]:
    """Show the progress of a block that goes over images, see `progress`."""
    return progress(description, total=total, unit="images", done=done)


@contextmanager
def bytes_progress(description: str, total: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """Show the progress of a block that moves bytes, in MB, once there is some.

    It calls `advance(done, total)` with all bytes that are done so far and all that are expected, None for unknown.
    """
    with ExitStack() as stack:
        bar: Advance | None = None
        shown = 0

        def advance(done: int, expected: int | None) -> None:
            nonlocal bar, shown
            size = expected or total
            if bar is None and (size is None or size >= _MB):
                shown = done // _MB
                whole = None if size is None else size // _MB
                bar = stack.enter_context(progress(description, total=whole, unit="MB", done=shown))
            if bar is not None and done // _MB != shown:
                bar(done // _MB - shown)
                shown = done // _MB

        yield advance


def notice(line: str) -> None:
    """Tell the user something that is no result, on a line of its own beside any bar."""
    _screen.print(printable(line))


class _Rate(ProgressColumn):
    """Items a second, or seconds an item where that reads better."""

    def render(self, task: Task) -> Text:
        return Text(_rate(task.speed, task.fields["unit"]), style="progress.data.speed")


class _Screen:
    """The one display of this process: a terminal has room for one, so bars that overlap share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._display: Progress | None = None
        self._bars = 0

    @contextmanager
    def bar(self, description: str, total: int | None, unit: str, done: int) -> Iterator[Advance]:
        display = self._enter()
        task = display.add_task(description, total=total, completed=done, unit=unit)
        try:
            yield lambda n: display.advance(task, n)
        finally:
            display.stop_task(task)
            self._leave()

    def print(self, line: str) -> None:
        """Print a line above the bars, if there are any."""
        with self._lock:
            if self._display is not None:
                self._display.console.print(line, markup=False, highlight=False, soft_wrap=True)
            else:
                print(line, file=sys.stderr, flush=True)

    def _enter(self) -> Progress:
        with self._lock:
            if self._display is None:
                self._display = _display()
                self._display.start()
            self._bars += 1
            return self._display

    def _leave(self) -> None:
        with self._lock:
            self._bars -= 1
            if self._bars == 0 and self._display is not None:
                self._display.stop()
                self._display = None


_screen = _Screen()


class _Log:
    """Progress as plain lines on stderr."""

    def __init__(self, description: str, total: int | None, unit: str, done: int) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._first = self._done = done
        self._lock = threading.Lock()
        self._start = self._last = time.monotonic()

    def advance(self, n: int) -> None:
        with self._lock:
            self._done += n
            if time.monotonic() - self._last >= LINE_EVERY_S:
                self._print()

    def end(self) -> None:
        with self._lock:
            self._print()

    def _print(self) -> None:
        self._last = time.monotonic()
        elapsed = self._last - self._start
        speed = (self._done - self._first) / elapsed if elapsed > 0 and self._done > self._first else None
        parts = [
            f"{self._done}/{self._total if self._total is not None else '?'} {self._unit}",
            _clock(elapsed),
        ]
        if speed:
            parts.append(_rate(speed, self._unit))
            if self._total is not None and self._done < self._total:
                parts.append(f"{_clock((self._total - self._done) / speed)} left")
        print(f"{self._description}: {', '.join(parts)}", file=sys.stderr, flush=True)


def _display() -> Progress:
    # To keep it off the bar, rich would send what others print to stdout to stderr: harmless on one terminal,
    # but the end of `bench table4 > table4.txt`.
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        _Rate(),
        console=Console(stderr=True),
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )


def _rate(speed: float | None, unit: str) -> str:
    if not speed:
        return f"- {unit}/s"
    return f"{speed:.1f} {unit}/s" if speed >= 0.1 else f"{60 * speed:.1f} {unit}/min"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
