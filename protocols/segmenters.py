"""What Table 3 asks of its models, and where its photos are."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from protocols.row_plan import Cards, Task


class Model(Protocol):
    """A semantic segmenter with its weights."""

    name: str
    checkpoint_sha256: str
    custom: bool

    def areas(self, photo: np.ndarray, truth: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return areas of intersection and union, int64 [classes] px each."""


class Registry(Cards, Protocol):
    """`models.mask2former.cards`."""

    def load(self, name: str, checkpoint: Path | None = None, *, device: str = "cpu") -> Model:
        """Load a segmenter."""


TASK = Task(
    table="table3",
    what="segmentation model",
    photos="ade20k/images/validation",
    worlds={
        "paper": "ADE20K photos of BENCH_DATA and full-size models",
        "micro": "dead leaves as ADE20K and micro models",
    },
)
