"""Pickles that leave a file behind if they are run, of several kinds."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Calls:
    """Unpickled as what a function returns."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def hostile(trace: Path) -> dict[str, tuple[Any, str]]:
    """Return objects that make `trace` as they are unpickled, and what a refusal of each says."""
    code = f"open({str(trace)!r}, 'w')"
    return {
        "system": (Calls(os.system, f"touch {trace}"), r"(posix|nt)\.system"),
        "exec": (Calls(exec, code), r"(builtins|__builtin__)\.exec"),
        "eval": (Calls(eval, code), r"(builtins|__builtin__)\.eval"),
        "open": (Calls(open, str(trace), "w"), r"(_io|io|builtins|__builtin__)\.open"),
        "popen": (Calls(subprocess.Popen, ["touch", str(trace)]), r"(subprocess|commands)\.Popen"),
        "pickle in pickle": (Calls(pickle.loads, pickle.dumps(Calls(exec, code))), r"_?c?[pP]ickle\.loads"),
    }


KINDS = tuple(hostile(Path("trace")))
