"""How any table is made from a plan: what every protocol's settings have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.contents import Progress
from bench.store import RunStore
from protocols.training_records import RECORDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a table is made, besides the plan."""

    limit: int | None
    """Images of each data set; None for all."""
    device: str
    """Where models run."""
    store: RunStore
    progress: Progress
    say: Callable[[str], None]
    """Told in one line what is skipped or resumed."""
    command: str
    """The command that makes the table again."""
    provenance: Mapping[str, Any]
    records: Path = RECORDS
    """Folder of what trainings left: answers, and other seeds."""
