"""What Table 2 asks of its models, and where its photos are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from protocols.row_plan import Cards, Task


class Detections(Protocol):
    """The objects found in one photo."""

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """Return float64 [P, 4] px of the photo."""

    @property
    def scores(self) -> np.ndarray:
        """Return float64 [P] in 0..1."""

    @property
    def labels(self) -> np.ndarray:
        """Return int64 [P] from 1 on, in the order of category ids."""

    @property
    def masks(self) -> np.ndarray:
        """Return bool [P, H, W]."""


class Model(Protocol):
    """A detector with its weights."""

    name: str
    checkpoint_sha256: str
    custom: bool
    classes: int

    def detect(self, photos: Sequence[np.ndarray]) -> Sequence[Detections]:
        """Return what is in photos uint8 [H, W, 3]."""


class Registry(Cards, Protocol):
    """`models.detectors`."""

    def load(self, name: str, checkpoint: Path | None = None, *, device: str = "cpu") -> Model:
        """Load a detector."""


TASK = Task(
    table="table2",
    what="detector",
    photos="coco/val2017",
    worlds={
        "paper": "COCO val2017 of BENCH_DATA and full-size detectors",
        "micro": "dead leaves as COCO at 256 px and micro detectors",
    },
)
