"""Run one cell, a model on a data set: one pass over the images, records into the run store shard by shard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from bench.data import Detections, ImageInfo, Instances, read_rgb
from bench.data.contents import Progress
from bench.store import RunStore
from models.errors import BenchError
from protocols.axes import Axes
from protocols.predictors import Answerer
from protocols.scores import CellRun
from protocols.shards import SKIPPED, asked_about, code_digest, run_shards

IMAGES_A_SHARD = 16
"""A killed run loses at most one shard."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What one pass over a data set needs."""

    protocol: ModuleType
    """protocols.table4 or protocols.table5: what records mean."""
    ask_image: Callable[..., list[dict[str, object]]]
    """How an image's records are made."""
    answerer: Answerer
    model_identity: Mapping[str, Any]
    """Name, checkpoint hash and whatever else makes the model's answers what they are."""
    instances: Instances
    images: Sequence[ImageInfo]
    """The images asked, a limited run's fewer than the data set's."""
    axes: Axes
    detections: Detections | None = None
    """Boxes, for protocols that start from them."""

    def identity(self) -> dict[str, Any]:
        """Return everything that could change a record, but for the images; the store's fingerprint is its hash."""
        return {
            "protocol": self.protocol.NAME,
            "version": self.protocol.VERSION,
            "axes": asdict(self.axes),
            "model": dict(self.model_identity),
            "data": {"name": self.instances.name, "sha256": self.instances.sha256},
            "boxes": None if self.detections is None else self.detections.sha256,
            "code": code_digest(),
        }


def run_cell(cell: Cell, store: RunStore, *, provenance: Mapping[str, Any], progress: Progress) -> CellRun:
    """Compute what is missing of a cell and return all its records.

    Several processes (torchrun) share the work: each takes every n-th shard, then all wait for the rest and
    take over what a dead one left.

    Raises:
        BenchError: from the model or the data; finished shards stay.
    """
    finished = run_shards(
        cell.identity(),
        asked_about(cell.images),
        lambda images, advance: _records(cell, images, advance),
        store,
        at_once=IMAGES_A_SHARD,
        description=f"{cell.answerer.name} on {cell.instances.name}",
        provenance=provenance,
        progress=progress,
    )
    return finished.cell_run([info.id for info in cell.images])


def _records(cell: Cell, images: Sequence[ImageInfo], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return the records of some images, with the protocol's column types even if there are none."""
    types = {**cell.protocol.RECORD_TYPES, SKIPPED: "str"}
    rows: list[dict[str, object]] = []
    for info in images:
        try:
            image = read_rgb(info.path, size=(info.height, info.width))
        except BenchError as unreadable:
            blank = {name: "" if kind == "str" else 0 for name, kind in types.items()}
            rows.append({**blank, "image_id": info.id, SKIPPED: str(unreadable)})
        else:
            rows += [{**row, SKIPPED: ""} for row in _image_records(cell, info, image)]
        advance(1)
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _image_records(cell: Cell, info: ImageInfo, image: np.ndarray) -> list[dict[str, object]]:
    annotations = cell.instances.annotations(info.id, with_empty=cell.axes.empty != "skip")
    extra: dict[str, Any] = {}
    if cell.detections is not None:
        extra = {"detections": cell.detections, "most": cell.protocol.most_detections(cell.instances.name, cell.axes)}
    return cell.ask_image(cell.answerer, image, info, annotations, cell.axes, **extra)
