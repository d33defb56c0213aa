"""The benchmark of masks at a size that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.env import ENV

ROOT = Path(__file__).resolve().parents[2]


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_both_ways_agree_and_the_published_one_is_the_first(tmp_path: Path) -> None:
    small = ["--height=48", "--width=64", "--prompts=2", "--repeats=1", "--rounds=1"]
    done = script("masks.py", *small, "--out", str(tmp_path / "masks.json"))
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "masks.json").read_text())["figures"]
    assert [(one["model"], one["way"]) for one in figures] == [
        (model, way) for model in ("SAM", "EfficientSAM") for way in ("as published", "this project")
    ]
    assert [one["ratio"] for one in figures if one["way"] == "as published"] == [1, 1]
    assert all(one["ms"] > 0 for one in figures)


@pytest.mark.parametrize("published, levers", [(True, {"OMP_WAIT_POLICY": "passive"}), (False, dict(ENV))])
def test_only_our_ways_get_the_levers(tmp_path: Path, published: bool, levers: dict[str, str]) -> None:
    said = tmp_path / "worker.py"
    said.write_text("import json; from bench.env import in_force; print(json.dumps(in_force()))")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); from turns import own_process; "
        f"print(own_process({str(said)!r}, published={published}))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name: value for name, value in json.loads(told.stdout).items() if value is not None} == levers
