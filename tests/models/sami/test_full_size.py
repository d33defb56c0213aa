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


def step(photos: Path, out: Path, *launcher: str) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, *launcher, str(SCRIPT), str(photos), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return load_file(out / "gradients.safetensors"), json.loads((out / "step.json").read_text())


def test_two_processes_make_the_step_that_one_makes(shared: Path, tmp_path: Path) -> None:
    photos = shared / "samples" / "imagenet" / "val"
    alone, facts = step(photos, tmp_path / "alone")
    together, _ = step(
        photos, tmp_path / "together", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"
    )
    assert facts["moved"] > 0
    assert 0 < facts["loss"] < 10  # the neck ends in a normalisation, so targets have about unit variance
    assert alone.keys() == together.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, atol=1e-7, rtol=1e-4)
        assert torch.isfinite(gradient).all()
    assert sum(float(gradient.abs().sum()) for gradient in alone.values()) > 0
