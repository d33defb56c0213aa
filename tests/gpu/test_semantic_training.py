"""Mask2Former trained by mmengine's Runner on the pretended GPU: the bits of the CPU, after a stop and a resume too."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from models.mask2former.train import train_semantic
from tests.gpu.compare import assert_same, stated
from tests.gpu.test_training import Stopped, as_on_a_gpu
from tests.models.mask2former.toys import toy_batches, toy_network, toy_photos, toy_recipe
from tests.pretend_gpu import on_gpu, pretend_gpu

STEP = "models/mask2former/train.py:run item"


class StoppedAt:
    """Batches up to one."""

    def __init__(self, batches: Any, last: int) -> None:
        self.batches, self.last = batches, last

    def __getitem__(self, step: int) -> Any:
        if step == self.last:
            raise Stopped
        return self.batches[step]


def trained(precision: str, out: Path, last: int = -1) -> dict[str, torch.Tensor] | None:
    recipe = toy_recipe(steps=2, checkpoint_every=1, precision=precision)
    batches = StoppedAt(toy_batches(toy_photos(2), recipe), last)
    try:
        return train_semantic(toy_network(), batches, recipe, out).state_dict()
    except Stopped:
        return None


@pytest.fixture
def mmengine_sees_a_gpu(monkeypatch) -> Any:
    """Let mmengine look for a device again, which it does when it is imported."""
    return lambda: monkeypatch.setattr("mmengine.device.utils.DEVICE", "cuda")


def test_mask2former_trains_to_the_bits_of_the_cpu_through_a_stop(tmp_path, mmengine_sees_a_gpu) -> None:
    with as_on_a_gpu():
        expected = trained("no", tmp_path / "cpu")
    mmengine_sees_a_gpu()
    with pretend_gpu() as memory:
        assert trained("no", tmp_path / "gpu", last=1) is None
        first = stated(memory)
        found = trained("no", tmp_path / "gpu")
        assert on_gpu(found)
    assert_same(dict(found), dict(expected))
    assert stated(memory)[STEP] == 2 * first[STEP]


def test_mask2former_trains_in_mixed_precision(tmp_path, mmengine_sees_a_gpu) -> None:
    mmengine_sees_a_gpu()
    with pretend_gpu() as memory:
        assert on_gpu(trained("bf16", tmp_path))
    stated(memory)
