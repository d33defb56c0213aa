"""Which of several processes this one is: torchrun and its like say so in RANK and WORLD_SIZE."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from models.errors import BenchError

_WAY_OUT = "start several processes with torchrun, or unset RANK and WORLD_SIZE for one"


class Process(NamedTuple):
    """One of the processes that share the work."""

    rank: int
    """From 0; that one reports."""
    world: int
    """How many there are."""

    @property
    def is_first(self) -> bool:
        """Whether this process reports."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"process {self.rank} of {self.world}"


def this_process() -> Process:
    """Return which process this is, the only one where no launcher says otherwise.

    Raises:
        BenchError: if the two variables are no numbers or do not fit together.
    """
    given = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
    for name, value in given.items():
        if value is not None and not re.fullmatch(r"0|[1-9][0-9]{0,6}", value):
            raise BenchError(f"{name} is '{value}', no number of a process: {_WAY_OUT}")
    rank, world = given["RANK"], given["WORLD_SIZE"]
    if rank is None and world not in (None, "1"):
        raise BenchError(f"WORLD_SIZE is {world} but RANK is not set: {_WAY_OUT}")
    process = Process(int(rank or 0), int(world or 1))
    if process.rank >= process.world:
        of = f"WORLD_SIZE is {world}" if world is not None else "WORLD_SIZE is not set"
        raise BenchError(f"RANK is {process.rank} but {of}, so nobody would report: {_WAY_OUT}")
    return process
