"""`python -m bench`: the front door. What the user or the machine does wrong leaves through it as one sentence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.env import start_again_with_them
from bench.streams import patient_streams
from models.errors import BenchError, refused

OURS = ("bench", "models", "protocols", "reports")
"""Packages whose absence is no matter of which Python this is."""


def start() -> None:
    """Run one command as this process, with the environment that makes torch fast."""
    start_again_with_them()
    main()


def main() -> None:
    """Run one command.

    Exit codes: 0, or the command's own 1 for bad news; 1 and one sentence for mistakes and for what the machine
    refuses, output that could not be written included; 2 for wrong arguments; 130 for Ctrl-C. A reader of the output
    that goes away, as `head` does, changes none of them.
    """
    with patient_streams() as unwritten:
        code = _run(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
        if (lost := unwritten()) is not None:
            _say(f"error: the output could not be written ({lost}); files that the command makes are whole")
            code = code or 1
    if code:
        raise SystemExit(code)


def _run(arguments: list[str]) -> int:
    try:
        # Here, since the imports take seconds, in which Ctrl-C may come.
        from bench.cli.commands import dispatch
        from bench.processes import this_process

        this_process()
        dispatch(arguments)
    except BenchError as error:
        _say(f"error: {error}")
        return 1
    except OSError as error:
        _say(f"error: {refused(error)}")
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        _say(f"error: {_elsewhere(error)}")
        return 1
    except KeyboardInterrupt:
        _say("stopped; what was finished is kept, the same command goes on from there")
        return 130
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    return 0


def _elsewhere(error: ModuleNotFoundError) -> str:
    """Say that a package is not in this Python, and which one may have it."""
    ours = Path(__file__).resolve().parents[1] / ".nox" / "bench" / ("Scripts" if os.name == "nt" else "bin") / "python"
    way_out = f"use {ours}, which nox made" if ours.is_file() else "run `nox -s reproduce_table4`, which makes one"
    return (
        f"this Python, {sys.executable}, does not have the package '{error.name}': {way_out}, or install the project "
        "here with `pip install -e .`"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    start()
