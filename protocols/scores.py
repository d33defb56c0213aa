"""What running and scoring one cell yield: records, then intervals by column; plain data, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from bench.metrics.interval import Interval


@dataclass(frozen=True, slots=True)
class CellRun:
    """A finished cell."""

    records: pd.DataFrame
    fingerprint: str
    resumed: int
    """Images whose records were there already."""
    image_ids: tuple[int, ...]
    """The images that were asked."""
    skipped: Mapping[int, str]
    """Images that could not be read, and why."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one cell."""

    intervals: Mapping[str, Interval]
    """Value and 95 % interval of each column of the data set, e.g. "box" or "ap_s", in 0..1."""
    basis: Any
    """What the protocol's `compare` needs of both cells."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Columns whose prompts the model cannot take, and why."""


OfSeeds = Mapping[str, Mapping[int, Scores]]
"""By row and seed of the training; seed 0 is the row's own."""
