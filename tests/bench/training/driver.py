"""Commands at toy size as processes of their own, which tests wait for or kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def start(cache: Path, *command: str) -> subprocess.Popen[str]:
    """Start commands of the front door, see `tiny_training.py`."""
    own = {"PYTHONPATH": str(ROOT), "BENCH_CACHE": str(cache), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    driver = str(Path(__file__).with_name("tiny_training.py"))
    return subprocess.Popen(
        [sys.executable, driver, *command], env={**os.environ, **own}, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a process, which must end well."""
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr[-3000:]


def kill_in_the_middle(process: subprocess.Popen[str], log: Path, *, lines: int) -> None:
    """Send SIGKILL once the log of a training has so many lines."""
    deadline = time.monotonic() + 300
    while not (log.exists() and len(log.read_text().splitlines()) >= lines):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
