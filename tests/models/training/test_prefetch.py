"""Reading ahead changes neither what is read nor in which order."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.errors import BenchError
from models.training.prefetch import Prefetched, read_ahead


class Batches:
    """Batch `step` is its number, the process that read it, and noise."""

    def __init__(self, fate: Callable[[], None] | None = None, dies_at: int = 5) -> None:
        self.fate, self.dies_at = fate, dies_at

    def __getitem__(self, step: int) -> dict[str, Any]:
        if self.fate is not None and step == self.dies_at:
            self.fate()
        noise = np.random.default_rng(step).integers(0, 256, (2, 3), dtype=np.uint8)
        return {"step": step, "process": os.getpid(), "noise": noise}


def fail() -> None:
    raise BenchError("photo.jpg is broken: download it again")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("start, stride, stop", [(0, 1, None), (7, 3, None), (5, 2, 11)])
def test_batches_come_in_order_and_as_they_are(workers: int, start: int, stride: int, stop: int | None) -> None:
    ahead = Prefetched(Batches(), workers=workers, stride=stride, stop=stop)
    for step in itertools.islice(itertools.count(start, stride), 3):
        batch, plain = ahead[step], Batches()[step]
        assert batch["step"] == step
        assert type(batch["noise"]) is np.ndarray
        assert (batch["noise"].dtype, batch["noise"].tolist()) == (np.uint8, plain["noise"].tolist())
        assert (batch["process"] == os.getpid()) == (workers == 0)


def test_a_step_out_of_turn_is_what_was_asked_for() -> None:
    ahead = Prefetched(Batches(), workers=1)
    assert [ahead[step]["step"] for step in (0, 1, 8, 9, 2)] == [0, 1, 8, 9, 2]


def test_nothing_is_read_past_the_end() -> None:
    ahead = Prefetched(Batches(fail, dies_at=3), workers=1, stop=3)
    assert [ahead[step]["step"] for step in range(3)] == [0, 1, 2]
    with pytest.raises(IndexError, match="step 3 is past the end, 3"):
        ahead[3]


def test_an_error_of_a_worker_is_the_sentence_it_was_and_comes_in_its_turn() -> None:
    ahead = Prefetched(Batches(fail, dies_at=2), workers=2)
    assert [ahead[0]["step"], ahead[1]["step"]] == [0, 1]
    with pytest.raises(BenchError, match=r"^photo.jpg is broken: download it again$"):
        ahead[2]


def test_a_killed_worker_is_explained() -> None:
    ahead = Prefetched(Batches(die, dies_at=0), workers=1)
    with pytest.raises(BenchError, match=r"a process that reads data was killed .*fewer --workers"):
        ahead[0]


@pytest.mark.parametrize("workers", [0, 2])
def test_reading_ahead_is_map(workers: int) -> None:
    items = [range(0, 3), range(3, 5), range(5, 5)]
    assert list(read_ahead(sum, items, workers=workers)) == [3, 7, 0]
