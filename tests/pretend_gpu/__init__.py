"""A GPU that is not there, with real numbers: every tensor is on the CPU, and some are said to be on `cuda`.

What devices are asked and named passes through `names`; what is computed, forward and backward, passes through
`operators`, which raises where a GPU would because tensors of two devices meet, and counts what the CPU has to wait
for. Everything else is torch on a CPU, autograd and optimisers too, so whatever is computed there equals, to the bit,
what the same code computes on the CPU.

Not shown: what CUDA's kernels compute, which operators mixed precision leaves in float32 there (here the CPU's list
holds), memory, speed, more than one GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_iter

from tests.pretend_gpu.memory import CUDA, Memory
from tests.pretend_gpu.names import Names
from tests.pretend_gpu.operators import Operators
from tests.pretend_gpu.patches import patches

__all__ = ["CUDA", "Memory", "on_gpu", "pretend_gpu"]


@contextmanager
def pretend_gpu() -> Iterator[Memory]:
    """Give this thread a GPU; `waits` of what is yielded counts (function, operator) of all that is waited for."""
    memory = Memory()
    with ExitStack() as stack:
        for patch in patches(memory):
            stack.enter_context(patch)
        stack.enter_context(Operators(memory))
        stack.enter_context(Names(memory))
        yield memory


def on_gpu(value: Any) -> bool:
    """Whether every tensor in a nest of tuples, lists and dicts is on the GPU, and there is one."""
    tensors = [x for x in tree_iter(value) if isinstance(x, Tensor)]
    return bool(tensors) and all(x.device == CUDA for x in tensors)
