"""The same question on the CPU and on the pretended GPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils._pytree import tree_flatten

from models.engines.float32 import threads
from tests.gpu.waits import STATED
from tests.pretend_gpu import Memory, pretend_gpu


def same_bits(ask: Callable[[str], Any]) -> dict[str, int]:
    """Ask with "cpu" and with "cuda", compare the answers to the bit, and return the waits, each of which is stated.

    On one thread: a CPU with several decodes parts of the prompts side by side, in sums of another order.
    """
    with threads(1):
        expected = ask("cpu")
        with pretend_gpu() as memory:
            found = ask("cuda")
    assert_same(found, expected)
    return stated(memory)


def stated(memory: Memory) -> dict[str, int]:
    """Return how often what was waited for, and raise if something was that is not stated."""
    waits = {f"{function} {operator}": count for (function, operator), count in memory.waits.items()}
    of_ours = {wait: count for wait, count in waits.items() if not wait.startswith("a library ")}
    unstated = {wait: count for wait, count in of_ours.items() if wait not in STATED}
    assert not unstated, f"waits that tests/gpu/waits.py does not state: {unstated}"
    return of_ours


def assert_same(found: Any, expected: Any) -> None:
    """Compare nests of tensors, arrays, tables and plain values."""
    (ours, form), (theirs, other_form) = tree_flatten(found), tree_flatten(expected)
    assert form == other_form
    assert ours
    for one, other in zip(ours, theirs, strict=True):
        assert type(one) is type(other)
        if isinstance(one, torch.Tensor):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        elif isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        else:
            np.testing.assert_array_equal(one, other)
