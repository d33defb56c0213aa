"""stdout and stderr that let the work go on when nobody takes the output: a closed pipe, a full disk, no stream."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class _Patient(io.RawIOBase):
    """A file descriptor that takes no more after the first write that failed, and says nothing of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost: OSError | None = None
        """Why the rest was not written."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        if self.lost is None:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self.lost = error
        return memoryview(data).nbytes


@contextmanager
def patient_streams() -> Iterator[Callable[[], str | None]]:
    """Make stdout and stderr patient during the block; streams that are not files of the system stay as they are.

    Yields:
        A function that says why output of stdout was lost, None if all was written or its reader went away.
    """
    _open_closed()
    kept = sys.stdout, sys.stderr
    out, raw = _patient(kept[0])
    error, _ = _patient(kept[1])
    sys.stdout, sys.stderr = out, error

    def unwritten() -> str | None:
        lost = raw.lost if raw is not None else None
        return None if lost is None or lost.errno == errno.EPIPE else lost.strerror

    try:
        yield unwritten
    finally:
        for stream in (out, error):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = kept


def _open_closed() -> None:
    """Give closed standard streams a place to go, lest the next file that is opened takes what is printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one


def _patient(stream: TextIO | None) -> tuple[Any, _Patient | None]:
    if not isinstance(stream, io.TextIOWrapper):
        return stream, None
    try:
        raw = _Patient(stream.fileno())
    except OSError:
        return stream, None
    stream.flush()
    # Whatever a name holds can be printed.
    line_buffering = stream.line_buffering or stream.write_through  # of PYTHONUNBUFFERED
    errors = "backslashreplace" if stream.errors in ("strict", "surrogateescape") else stream.errors
    text = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=line_buffering,
    )
    return text, raw
