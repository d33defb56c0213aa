"""A pretended GPU, and no wait on it that is not stated."""

from collections.abc import Iterator

import pytest

from tests.gpu.waits import STATED
from tests.pretend_gpu import Memory, pretend_gpu


@pytest.fixture
def gpu() -> Iterator[Memory]:
    with pretend_gpu() as memory:
        yield memory
    check(memory)


def check(memory: Memory) -> None:
    waits = {f"{function} {operator}" for function, operator in memory.waits if function != "a library"}
    assert waits <= STATED.keys()
