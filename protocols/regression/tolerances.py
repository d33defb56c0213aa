"""How far a number may be from what is expected, and why: measured differences between machines and ways to compute.

protocols/expected/differences.csv has, for each column of each table, the largest difference of a mean, and the
largest share of records that moved, under every condition that changes no number in principle: another number of
threads, another engine, a CPU that can do less. `bench regression measure` measures them again. The tolerance is
`FACTOR` times the largest of them, and at least a floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from models.errors import BenchError
from protocols.regression.snapshots import EXPECTED
from protocols.results import Level

FACTOR = 3.0
"""Times the largest measured difference; our choice: a few machines do not show the largest that any machine has."""
FLOOR: dict[Level, float] = {"mean": 0.0005, "records": 0.002}
"""Least tolerance. Of means, half of the last digit that tables print (0.05 of a percentage); of records, 2 in 1,000
that may have moved. Our choice."""
WHY_FLOOR: dict[Level, str] = {"mean": "half a printed digit", "records": "2 of 1,000 records"}
DIFFERENCES = EXPECTED / "differences.csv"
COLUMNS = ["condition", "table", "column", "level", "difference", "row"]
"""Of that file: the largest difference of a column under a condition, and the row that had it."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may be off, and why."""

    value: float
    why: str


class Tolerances:
    """The tolerance of every column."""

    def __init__(self, differences: pd.DataFrame) -> None:
        largest = differences.sort_values("difference").drop_duplicates(["table", "column", "level"], keep="last")
        self._largest = {
            (table, column, level): (float(difference), str(condition))
            for table, column, level, difference, condition in largest[
                ["table", "column", "level", "difference", "condition"]
            ].itertuples(index=False)
        }

    def of(self, table: str, column: str, level: Level, *, percent: bool = True) -> Tolerance:
        """Return the tolerance of a column's means, or of the share of its records that moved.

        Args:
            table: its name.
            column: its key.
            level: which of both.
            percent: whether the column's values are 0..1; of others the floor is 100 times as much.
        """
        floor = FLOOR[level] * (1 if percent else 100)
        difference, condition = self._largest.get((table, column, level), (0.0, ""))
        if FACTOR * difference > floor:
            return Tolerance(FACTOR * difference, f"{FACTOR:g} x that of {condition}")
        return Tolerance(floor, WHY_FLOOR[level])


def read_tolerances(path: Path = DIFFERENCES) -> Tolerances:
    """Return the tolerances that follow from a file of measured differences; without one, the floors.

    Raises:
        BenchError: if it is damaged.
    """
    if not path.is_file():
        return Tolerances(pd.DataFrame(columns=COLUMNS))
    try:
        differences = pd.read_csv(path, float_precision="round_trip")[COLUMNS]
    except (OSError, ValueError, KeyError) as error:
        raise BenchError(
            f"{path} holds no measured differences ({error}): check it out again, or make it with `bench regression "
            "measure`"
        ) from error
    return Tolerances(differences)
