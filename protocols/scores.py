"""What scoring one cell yields: intervals by column, and what a paired comparison with another cell needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.metrics.interval import Interval


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one cell."""

    intervals: Mapping[str, Interval]
    """Value and 95 % interval of each column of the data set, e.g. "box" or "ap_s", in 0..1."""
    basis: Any
    """What the protocol's `compare` needs of both cells."""
