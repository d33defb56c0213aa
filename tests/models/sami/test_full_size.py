"""SAMI at its full size on real photos: one step in one process, and the same step in two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("one_step.py")


def made(out: Path) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    return load_file(out / "gradients.safetensors"), json.loads((out / "step.json").read_text())


def test_two_processes_make_the_step_that_one_makes(shared: Path, tmp_path: Path) -> None:
    photos = shared / "samples" / "imagenet" / "val"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, str(SCRIPT), str(photos), str(tmp_path / "together"), str(tmp_path / "alone")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    alone, facts = made(tmp_path / "alone")
    together, _ = made(tmp_path / "together")
    assert facts["moved"] > 0
    assert 0 < facts["loss"] < 10  # the neck ends in a normalisation, so targets have about unit variance
    assert alone.keys() == together.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, atol=1e-7, rtol=1e-4)
        assert torch.isfinite(gradient).all()
    assert sum(float(gradient.abs().sum()) for gradient in alone.values()) > 0
