"""What is timed is what runs: every part apart, the whole as an evaluation runs it, operations by torch's counter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import speed, zoo
from models.errors import BenchError
from tests.protocols.fakes import DiscModel

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
BOX = (10.0, 8.0, 40.0, 30.0)


@pytest.fixture(autouse=True)
def _few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "ENOUGH", 0.0)


@pytest.mark.parametrize("name", ["efficientsam-ti-micro", "mobilesam-micro"])
def test_every_part_of_a_model_of_the_zoo_is_timed(name: str) -> None:
    model = zoo.untrained(name)
    found = speed.measure(model, PHOTO, BOX)
    assert set(found.seconds) == {"pre", "encoder", "batch", "decoder", "masks", "post", "whole"}
    assert all(len(calls) >= speed.LEAST and (calls > 0).all() for calls in found.seconds.values())
    assert found.parameters == sum(parameter.numel() for parameter in model.network.parameters())
    parts = sum(np.median(found.seconds[part]) for part in ("pre", "encoder", "decoder", "masks", "post"))
    assert np.median(found.seconds["whole"]) == pytest.approx(parts, rel=2)


def test_operations_are_those_of_one_image_and_one_box() -> None:
    """By hand for the patches alone, a convolution whose kernel is its stride; the whole is far more."""
    model = zoo.untrained("efficientsam-ti-micro")
    patches = 2 * 3 * 16 * 16 * 56 * (256 // 16) ** 2
    found = speed.measure(model, PHOTO, BOX).flops
    assert 10 * patches < found < 1000 * patches


def test_a_model_that_does_not_tell_its_parts_apart_is_timed_by_the_contract() -> None:
    found = speed.measure(DiscModel(), PHOTO, BOX)
    assert set(found.seconds) == {"encoder", "decoder", "masks", "post", "whole"}
    assert (found.parameters, found.flops) == (0, 0)


def test_calls_end_when_they_took_long_enough_and_slow_ones_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def call(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(speed, "ENOUGH", 2.0)
    cpu = torch.device("cpu")
    assert len(speed._timed(lambda: call(0.001), cpu)) == speed.MOST
    assert len(speed._timed(lambda: call(0.25), cpu)) == 8
    assert len(speed._timed(lambda: call(1.0), cpu)) == speed.LEAST
    assert speed._timed(lambda: call(60.0), cpu) == pytest.approx([60.0] * 3)


def test_a_model_that_is_made_of_its_file_cannot_be_timed_without_it() -> None:
    with pytest.raises(BenchError, match="cannot be made without its weights"):
        zoo.untrained("fastsam-x")
