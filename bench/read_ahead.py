"""The next thing is read while something is done with this one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


def read_ahead(read: Callable[[Item], Value], items: Iterable[Item]) -> Generator[Value]:
    """Yield read(item) for each item in turn, the next one read by a thread meanwhile.

    Two values are in memory at most. What `read` raises is raised where its own value would be yielded. On a CPU it
    saves nothing beside a model that keeps all cores busy; beside a GPU, the time that decoding takes.

    >>> list(read_ahead(abs, [-1, 2]))
    [1, 2]
    """
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:
        coming = None
        for item in items:
            ready, coming = coming, pool.submit(read, item)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
