"""The README's code runs and its commands exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from bench.cli.commands import COMMANDS, GROUPS
from protocols import tables
from protocols.axes import PRESETS

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example_runs_and_gives_what_its_comments_say():
    (code,) = blocks("python")
    scope: dict[str, object] = {}
    exec(code, scope)
    assert tuple(scope["masks"].shape) == (1, 3, 480, 640)
    assert tuple(scope["predicted_iou"].shape) == (1, 3)


def test_every_bench_command_in_the_readme_exists():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    used = re.findall(r"bench ([a-z-]+)(?: ([a-z]+))?", " ".join(lines) + README)
    for verb, noun in {u for u in used if u[0] in COMMANDS or u[0] in GROUPS}:
        assert verb in COMMANDS or noun in GROUPS[verb] or not noun
    assert {"run", "list"} <= {verb for verb, _ in used}


def test_every_nox_session_in_the_readme_exists():
    root = Path(__file__).resolve().parents[1]
    source = (root / "noxfile.py").read_text()
    for session in set(re.findall(r"nox -s ([a-z0-9_]+)", README)):
        assert f"def {session}(" in source or session.removeprefix("reproduce_") in tables.names()


def test_all_presets_are_named():
    assert all(f"`{name}`" in README for name in PRESETS)


def test_help_of_the_module_works_as_a_stranger_types_it():
    done = subprocess.run(
        [sys.executable, *shlex.split("-m bench --help")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0
    assert "bench list" in done.stdout
