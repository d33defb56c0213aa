"""Parts of one job side by side on a CPU, each part on a core of its own.

The operations of a mask decoder are too small to be shared well: two cores do more on two parts at a time than both on
every operation of one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from models.engines.float32 import threads

MOST = 8
"""Workers at most, since each holds in memory what its part needs; with more cores than that, a worker has several."""

Item = TypeVar("Item")
Value = TypeVar("Value")


def workers_on(device: torch.device) -> int:
    """Return how many parts of a job to compute at once: one on a GPU, and where gradients or a graph are wanted."""
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
    return 1 if whole or device.type != "cpu" else min(torch.get_num_threads(), MOST)


def parts(count: int, workers: int, *, most: int, least: int = 1) -> list[slice]:
    """Cut `count` things into slices of at most `most`: a slice a worker where those then have at least `least`.

    >>> parts(5, 2, most=8)
    [slice(0, 3, None), slice(3, 6, None)]
    """
    step = max(1, min(most, max(least, -(-count // workers))))
    return [slice(start, start + step) for start in range(0, max(count, 1), step)]


def in_parallel(function: Callable[[Item], Value], items: Sequence[Item], workers: int) -> list[Value]:
    """Return what a function makes of each item, in their order, computed by some threads that share torch's.

    The threads compute as their caller does, without gradients: in its inference mode and its precision on a CPU. No
    more than one item a worker is in memory at once. The first error ends all, after the items that workers are at.

    Args:
        function: of an item.
        items: one or more.
        workers: how many items at once (`workers_on`); 1 computes here.
    """
    workers = min(workers, len(items))
    if workers < 2:
        return [function(item) for item in items]
    cores = torch.get_num_threads()
    inference = torch.is_inference_mode_enabled()
    half, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    waiting = deque(enumerate(items))
    found: dict[int, Value] = {}

    def work() -> None:
        torch.set_num_threads(cores // workers)  # of this thread, but also of threads that begin later
        with torch.inference_mode(inference), torch.no_grad(), torch.autocast("cpu", dtype=dtype, enabled=half):
            while True:
                try:
                    place, item = waiting.popleft()
                except IndexError:
                    return
                found[place] = function(item)

    with threads(cores), ThreadPoolExecutor(workers, thread_name_prefix="worker") as pool:
        try:
            working = [pool.submit(work) for _ in range(workers)]
            wait(working, return_when=FIRST_EXCEPTION)
        finally:
            waiting.clear()  # after an error or Ctrl-C, workers end with the items that they are at
    for one in working:
        one.result()
    return [found[place] for place in range(len(items))]
