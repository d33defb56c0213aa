"""What Table 1 asks of its models, and where its photos are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from protocols.paper import paper_table
from protocols.row_plan import Cards, Task


class Model(Protocol):
    """A classifier with its weights."""

    name: str
    checkpoint_sha256: str
    custom: bool

    def predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the five likeliest classes of images uint8 [H, W, 3], int64 [B, 5]."""


class Registry(Cards, Protocol):
    """`models.classifiers`."""

    def load(self, name: str, checkpoint: Path | None = None, *, device: str = "cpu") -> Model:
        """Load a classifier."""


def _pretraining(label: str) -> str:
    """Return what the paper's row was pretrained on, if on more than ImageNet-1K."""
    data = str(paper_table("table1").at[label, "training_data"])
    return "" if data == "IN1K" else f"the paper's was pretrained on {data}"


TASK = Task(
    table="table1",
    what="classifier",
    photos="imagenet/val",
    worlds={
        "paper": "ImageNet photos of BENCH_DATA and full-size models",
        "micro": "dead leaves as ImageNet and micro models",
    },
    ours=("SAMI", "MAE"),
    note=_pretraining,
)
