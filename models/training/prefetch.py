"""Reading ahead in other processes, without changing what is read or in which order.

Workers of torch's DataLoader compute `batches[step]` for the steps that will be asked for next; since a batch is a
function of its step, nothing else can change.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

from torch.utils.data import DataLoader, Dataset

from models.errors import BenchError
from models.training.loop import Batches

Item = TypeVar("Item")
Value = TypeVar("Value")


def read_ahead(function: Callable[[Item], Value], items: Iterable[Item], *, workers: int) -> Iterator[Value]:
    """Return `map(function, items)`, computed by `workers` processes that are up to two items each ahead.

    Values travel through pipes, not shared memory, of which containers have 64 MB.

    Args:
        function: sent to the workers, so it must be picklable where they are not forked.
        items: may have no end.
        workers: 0 computes here.

    Raises:
        BenchError: what `function` raised, or that a worker was killed.
    """
    if workers == 0:
        yield from map(function, items)
        return
    loader = DataLoader(
        _Calls(function),
        batch_size=None,
        sampler=items,
        num_workers=workers,
        collate_fn=_as_it_is,
    )
    values = iter(loader)
    while True:
        try:
            value = next(values)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise BenchError(
                f"a process that reads data was killed ({str(error).splitlines()[0]}): "
                "run the same command again with fewer --workers, or free some memory"
            ) from error
        if isinstance(value, _Failure):
            raise value.error
        yield value


class Prefetched:
    """Batches that are read ahead while the network trains; equal to `batches` step by step.

    Reading starts at the step that is asked for first, so a resumed run needs to say nothing. A step out of turn
    starts it again from there.

    Args:
        batches: the data as a function of the step.
        workers: processes that read, 0 for none.
        stride: distance of the steps that this process asks for: the number of training processes.
        stop: end of the steps, so that nothing is read past it.
    """

    def __init__(self, batches: Batches, *, workers: int, stride: int = 1, stop: int | None = None) -> None:
        self.batches, self.workers, self.stride, self.stop = batches, workers, stride, stop
        self._coming: Iterator[Any] | None = None
        self._next = 0

    def __getitem__(self, step: int, /) -> Any:
        """Return `batches[step]`."""
        if self.workers == 0:
            return self.batches[step]
        if self._coming is None or step != self._next:
            steps = itertools.count(step, self.stride) if self.stop is None else range(step, self.stop, self.stride)
            self._coming = read_ahead(self.batches.__getitem__, steps, workers=self.workers)
        self._next = step + self.stride
        try:
            return next(self._coming)
        except StopIteration:
            raise IndexError(f"step {step} is past the end, {self.stop}") from None


class _Calls(Dataset, Generic[Item, Value]):
    """A function as a data set; errors for users travel as values, since torch would wrap them in a traceback."""

    def __init__(self, function: Callable[[Item], Value]) -> None:
        self.function = function

    def __getitem__(self, item: Item) -> Value | _Failure:
        try:
            return self.function(item)
        except BenchError as error:
            return _Failure(error)


class _Failure(NamedTuple):
    error: BenchError


def _as_it_is(value: Any) -> Any:
    return value
