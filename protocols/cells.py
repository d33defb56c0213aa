"""Run one cell, a model on a data set: one pass over the images, records into the run store shard by shard."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from bench.data import Detections, ImageInfo, Instances, read_rgb
from bench.store import RunStore
from models.errors import BenchError
from protocols.answers import Answerer
from protocols.axes import Axes
from protocols.scores import CellRun

IMAGES_A_SHARD = 16
"""A killed run loses at most one shard."""
SKIPPED = "skipped"
"""Column of every record: why an image could not be asked, empty for records that count."""

Progress = Callable[[str, int, int], AbstractContextManager[Callable[[int], None]]]
"""(description, total, done already) -> context that yields advance(n)."""


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
        """Return everything that could change a record; the store's fingerprint is its hash."""
        return {
            "protocol": self.protocol.NAME,
            "version": self.protocol.VERSION,
            "axes": asdict(self.axes),
            "model": dict(self.model_identity),
            "data": {"name": self.instances.name, "sha256": self.instances.sha256},
            "images": len(self.images),
            "of_images": len(self.instances.images),
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
    shards = [cell.images[i : i + IMAGES_A_SHARD] for i in range(0, len(cell.images), IMAGES_A_SHARD)]
    run = store.open(cell.identity(), len(shards), provenance=provenance)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    description = f"{cell.answerer.name} on {cell.instances.name}"
    if run.pending():
        done = min(run.resumed * IMAGES_A_SHARD, len(cell.images))
        with progress(description, len(cell.images), done) as advance:
            mine = [shard for shard in run.pending() if shard % world == rank]
            while mine or (mine := run.wait_for_all()):
                for shard in mine:
                    with run.writing(shard) as claimed:
                        if claimed:
                            run.write(shard, _records(cell, shards[shard], advance))
                mine = []
    everything = run.read()
    unread = everything[everything[SKIPPED] != ""]
    skipped = dict(zip(unread["image_id"].astype(int), unread[SKIPPED], strict=True))
    return CellRun(
        records=everything[everything[SKIPPED] == ""].drop(columns=SKIPPED),
        fingerprint=run.fingerprint,
        resumed=min(run.resumed * IMAGES_A_SHARD, len(cell.images)),
        image_ids=tuple(info.id for info in cell.images if info.id not in skipped),
        skipped=skipped,
    )


def _records(cell: Cell, images: Sequence[ImageInfo], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return the records of some images, with the protocol's column types even if there are none."""
    types = {**cell.protocol.RECORD_TYPES, SKIPPED: "str"}
    rows: list[dict[str, object]] = []
    for info in images:
        try:
            image = _read(info, cell.instances)
        except BenchError as unreadable:
            blank = {name: "" if kind == "str" else 0 for name, kind in types.items()}
            rows.append({**blank, "image_id": info.id, SKIPPED: str(unreadable)})
        else:
            rows += [{**row, SKIPPED: ""} for row in _image_records(cell, info, image)]
        advance(1)
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _read(info: ImageInfo, instances: Instances) -> np.ndarray:
    image = read_rgb(info.path)
    if image.shape[:2] != (info.height, info.width):
        raise BenchError(
            f"{info.path} is {image.shape[1]} x {image.shape[0]} px but {instances.annotation_path} says "
            f"{info.width} x {info.height}: download it again"
        )
    return image


def _image_records(cell: Cell, info: ImageInfo, image: np.ndarray) -> list[dict[str, object]]:
    annotations = cell.instances.annotations(info.id)
    extra: dict[str, Any] = {}
    if cell.detections is not None:
        most = cell.protocol.MOST_DETECTIONS[cell.instances.name]
        extra = {"detections": cell.detections.for_image(info.id), "most": most}
    return cell.ask_image(cell.answerer, image, info, annotations, cell.axes, **extra)


@cache
def code_digest() -> str:
    """Return a hash of the source that makes records: after a change nothing stale is reused."""
    root = Path(__file__).resolve().parents[1]
    paths = [
        path
        for folder in ("models", "protocols", "bench/data", "bench/metrics")
        for path in (root / folder).rglob("*.py")
        if "training" not in path.parts
    ]
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
