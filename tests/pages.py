"""What README.md and docs/ tell people to type, as the real parsers read it."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tyro

from bench.cli.commands import dispatch

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"(?:^<!-- test: (run) -->\n)?^```(\w+)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SETTING = re.compile(r"\w+=\S*")
OUTSIDE = {"cd", "export", "pip", "curl", "git", "module", "source"}
"""Commands of the shell and of others, which are not looked into."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    language: str
    text: str
    runs: bool
    """Whether `<!-- test: run -->` stands before it: then its commands are run at micro scale, not just read."""

    @property
    def label(self) -> str:
        """Return what a test calls it."""
        first = next((line for line in self.text.splitlines() if line.strip()), "")
        return f"{self.page.relative_to(ROOT)}: {first[:60]}"


def blocks(language: str) -> list[Block]:
    """Return all blocks in a language."""
    return [
        Block(page, found[2], found[3], bool(found[1]))
        for page in PAGES
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
        if found[2] == language
    ]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a sh block, without comments and settings of variables before it."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            while command and _SETTING.fullmatch(command[0]):
                command = command[1:]
            if command:
                yield command


def bench_arguments(command: list[str]) -> list[list[str]]:
    """Return what a command gives to `python -m bench`: once, once a nox session, or not at all.

    Raises:
        AssertionError: if it is none that a page may have, or there is no such session or script.
    """
    match command:
        case [first, *_] if first in OUTSIDE:
            return []
        case ["bench", *arguments] | ["python", "-m", "bench", *arguments]:
            return [arguments]
        case ["torchrun", *_]:
            return [command[command.index("bench") + 1 :]]
        case ["nox", "-s", *rest]:
            end = rest.index("--") if "--" in rest else len(rest)
            return [[*behind, *rest[end + 1 :]] for name in rest[:end] if (behind := _behind_session(name))]
        case ["python", script, *_]:
            assert (ROOT / script).is_file(), f"there is no {script}"
            return []
    raise AssertionError(f"no command that this test can read: {shlex.join(command)}")


def _behind_session(name: str) -> list[str]:
    """Return the command of `bench` that a nox session is, empty if it is none."""
    if name.startswith("reproduce_"):
        return ["run", name.removeprefix("reproduce_")]
    sessions = {node.name: node for node in ast.parse((ROOT / "noxfile.py").read_text()).body if hasattr(node, "name")}
    assert name in sessions, f"noxfile.py has no session {name}"
    assert sessions[name].decorator_list, f"{name} of noxfile.py is no session"
    words = [node.value for node in ast.walk(sessions[name]) if isinstance(node, ast.Constant)]
    return [str(word) for word in words[words.index("bench") + 1 :]] if "bench" in words else []


def parse(arguments: list[str]) -> dict[str, Any]:
    """Read arguments with the parser of their command, without running it.

    Raises:
        SystemExit: if it does not take them.
    """
    seen: list[dict[str, Any]] = []
    real = tyro.cli

    def only_parse(function: Callable[..., Any], **options: Any) -> Any:
        @functools.wraps(function)
        def stub(*values: Any, **named: Any) -> None:
            seen.append(dict(inspect.signature(function).bind(*values, **named).arguments))

        return real(stub, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tyro, "cli", only_parse)
        dispatch(arguments)
    (found,) = seen
    return found
