"""Everything that one data set of a table gave: what a table's module compares and notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocols.data_set import DataSet
from protocols.plan import Plan
from protocols.results import Column
from protocols.scores import CellRun, Scores
from protocols.settings import Settings


@dataclass(frozen=True, slots=True)
class Measured:
    """Runs and scores of all rows on one data set."""

    plan: Plan
    data: DataSet
    columns: tuple[Column, ...]
    """Those of this data set."""
    runs: Mapping[str, Mapping[int, CellRun]]
    """By row and seed of the training; seed 0 is the row's own."""
    scores: Mapping[str, Mapping[int, Scores]]
    """Of all runs."""
    settings: Settings
