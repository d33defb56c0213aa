"""How any table is made: what a user may choose, and where runs and words go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bench.data.contents import Progress
from bench.data.own import OwnData
from bench.store import RunStore
from bench.store.bounded import BoundedFolder
from models.engines.names import Engine
from protocols.axes import PAPER, Axes
from protocols.training_records import RECORDS

Scale = Literal["auto", "paper", "micro"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a table is made."""

    store: RunStore
    progress: Progress
    scale: Scale = "auto"
    models: tuple[str, ...] = ()
    """Names of models or rows; empty for all."""
    checkpoints: Mapping[str, Path] = field(default_factory=dict)
    """The user's own weights by name of the model."""
    trusted: frozenset[str] = frozenset()
    """sha256 of checkpoints that may be read though their reading runs code."""
    axes: Axes = PAPER
    preset: str = "paper"
    """The preset that the axes start from; in the settings of one table, what its axes are called."""
    named: tuple[str, ...] = ()
    """Axes that the user set one by one."""
    limit: int | None = None
    """Images of each data set; None for all."""
    device: str = "cpu"
    """Where models run."""
    engine: Engine = "exact"
    """How networks of this project compute, see `models.engines`."""
    embeddings: BoundedFolder | None = None
    """Where embeddings of images are kept for later runs; None for nowhere."""
    adopt: bool = False
    """Whether records of other code are taken over if a sample of them, made anew, is identical."""
    data_root: Path | None = None
    """BENCH_DATA."""
    data: OwnData | None = None
    """Data of the user's own in place of the published sets."""
    boxes: Path | None = None
    """A detector's boxes for them; None for jittered truths."""
    say: Callable[[str], None] = print
    """Told in one line what is skipped or resumed."""
    command: str = ""
    """The command that makes the table again."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    records: Path = RECORDS
    """Folder of what trainings left: predictions, and other seeds."""
