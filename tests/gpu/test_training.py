"""Every training stage on the pretended GPU: the bits of the CPU, after a stop and a resume too."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from accelerate.state import AcceleratorState

from models.training import loop
from tests.gpu.compare import assert_same, stated
from tests.gpu.stages import STAGES
from tests.pretend_gpu import on_gpu, pretend_gpu

STEPS = 2


class Always:
    """One batch at every step."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __getitem__(self, step: int) -> Any:
        return self.batch


class Stopped(Exception):
    """What stops a training."""


class Watched:
    """A stage that keeps its losses and the gradients that the step before it ended with."""

    def __init__(self, stage: Any, stop_at: int | None) -> None:
        self.stage, self.stop_at, self.losses, self.there = stage, stop_at, [], True

    def __call__(self, network: Any, *given: Any) -> Any:
        if len(self.losses) == self.stop_at:
            raise Stopped
        losses = self.stage(network, *given)
        self.losses.append({name: loss.detach().clone() for name, loss in losses.items()})
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.register_hook(self.see)
        self.there &= on_gpu([losses, *network.parameters(), *network.buffers()])
        return losses

    def see(self, gradient: torch.Tensor) -> None:
        self.there &= on_gpu(gradient)


@contextmanager
def new_accelerator() -> Iterator[None]:
    """Accelerate remembers its device for as long as a process lives."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def trained(
    name: str, device: str, out: Path, stop_after: int | None = None
) -> tuple[Watched, dict[str, torch.Tensor]]:
    """Train for a few steps, after a resume if there is something to resume."""
    torch.manual_seed(0)
    network, stage, recipe, batch = STAGES[name](device)
    watched = Watched(stage, None if stop_after is None else stop_after * recipe.accumulate)
    few = replace(recipe, steps=STEPS, warmup_steps=0, checkpoint_every=STEPS if device == "cpu" else 1)
    with new_accelerator():
        made = network
        with suppress(Stopped):
            made = loop.train(network, watched, Always(batch), few, out)
    return watched, dict(made.state_dict())


def as_on_a_gpu() -> Any:
    """Let optimisers on the CPU group their tensors, as they do on a GPU where sums have another order."""
    name = "torch.optim.optimizer._get_foreach_kernels_supported_devices"
    return mock.patch(name, return_value=["cuda", "cpu"])


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_trains_to_the_bits_of_the_cpu_through_a_stop(name, tmp_path) -> None:
    with as_on_a_gpu():
        expected, weights = trained(name, "cpu", tmp_path / "cpu")
    with pretend_gpu() as memory:
        before, _ = trained(name, "cuda", tmp_path / "gpu", stop_after=1)
        after, found = trained(name, "cuda", tmp_path / "gpu")
    assert_same([before.losses + after.losses, found], [expected.losses, weights])
    assert before.there
    assert after.there
    stated(memory)
