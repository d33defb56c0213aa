"""Environment variables that make torch on a CPU faster without changing a number.

Standard library only: noxfile.py loads this file by its path, before anything is installed. The variables
must be set when the process starts; the C library reads its own before the first line of Python runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ENV: Mapping[str, str] = {
    # Idle OpenMP threads sleep instead of spinning: beside one busy process on two cores, 0.85 s instead of
    # 12 to 16 s for the same work.
    "OMP_WAIT_POLICY": "passive",
    # glibc keeps big blocks (attention matrices, 200 MB) instead of returning them to the kernel and faulting
    # them in again page by page: 100 MB blocks are filled at 25 GB/s instead of 1.8, but only with both set.
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    # torch asks for huge pages for big tensors, where the kernel grants them on request (madvise).
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""Recommended values by name. LD_PRELOAD of tcmalloc, where installed, does what both MALLOC_ levers do."""


def start_again_with_them() -> None:
    """Start this process again, at its first line, with the values that it was not started with (Linux only).

    It stays the same process with the same files and terminal. A variable that is set already keeps its value.
    """
    missing = {name: value for name, value in ENV.items() if name not in os.environ}
    if missing and sys.platform == "linux":
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **missing})


def in_force() -> dict[str, str | None]:
    """Return the value of each lever that this process was started with, None where it was not set.

    What Python put into os.environ later does not count where the kernel tells the two apart (Linux).
    """
    started = _started_with()
    return {name: started.get(name) for name in ENV}


def _started_with() -> Mapping[str, str]:
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return os.environ
    pairs = (os.fsdecode(entry).partition("=") for entry in block.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}
