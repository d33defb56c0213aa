"""A hundred damaged training folders: trained on to the same weights, or refused in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import BenchError
from models.training.loop import train
from tests.faults.damage import damage
from tests.models.training.test_loop import RECIPE, Batches, Stage, toy

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def test_damaged_trainings_end_in_the_weights_of_whole_ones_or_are_refused(tmp_path: Path) -> None:
    whole = train(toy(), Stage(), Batches(), RECIPE, tmp_path / "whole").state_dict()
    with pytest.raises(KeyboardInterrupt):
        train(toy(), Stage(dies_at=7), Batches(), RECIPE, tmp_path / "stopped")
    refused = 0
    for seed in range(100):
        out = tmp_path / f"{seed}"
        shutil.copytree(tmp_path / "stopped", out)
        files = sorted(path for path in out.rglob("*") if path.is_file())
        path = files[int(np.random.default_rng((seed, 2)).integers(len(files)))]
        before = path.read_bytes()
        fault = damage(before, 8000 + seed)
        path.write_bytes(fault.content)
        try:
            found = train(toy(), Stage(), Batches(), RECIPE, out).state_dict()
        except BenchError as error:
            assert out.name in str(error), f"{path.name}: {fault.what}"
            refused += 1
        else:
            for name, value in whole.items():
                assert torch.equal(found[name], value), f"{path.name}: {fault.what}"
        shutil.rmtree(out)
    assert refused > 30
