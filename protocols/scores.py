"""What asking and scoring yield: records, then intervals by column; plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from bench.metrics.interval import Interval
from protocols.results import Status


class Refused(NamedTuple):
    """Why a model has no records about a data set."""

    status: Status
    why: str


@dataclass(frozen=True, slots=True)
class CellRun:
    """The records of one model about one data set."""

    records: pd.DataFrame
    fingerprint: str
    resumed: int
    """Images whose records were there already."""
    image_ids: tuple[int, ...]
    """The images that were asked."""
    skipped: Mapping[int, str]
    """Images that could not be read, and why."""
    adopted: tuple[Mapping[str, Any], ...] = ()
    """Where records are those of runs of other code: which, and what was checked, see `protocols.adopt`."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one model on one data set."""

    intervals: Mapping[str, Interval]
    """Value and 95 % interval by key of the column, in 0..1."""
    basis: Any
    """What the table's `compare` needs of both models."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Columns whose prompts the model cannot take, and why."""
