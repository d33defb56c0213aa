"""Records of images, shard by shard in the run store: what is there is not made again, and processes share the rest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from bench.store import RunStore
from protocols.scores import CellRun

SKIPPED = "skipped"
"""Column of every record: why an image could not be asked, empty for records that count."""

T = TypeVar("T")
Progress = Callable[[str, int, int], AbstractContextManager[Callable[[int], None]]]
"""(description, total, done already) -> context that yields advance(n)."""


class Finished(NamedTuple):
    """A finished run of the store."""

    records: pd.DataFrame
    """Of all images, skipped ones too."""
    fingerprint: str
    resumed: int
    """Images whose records were there already."""

    def cell_run(self, image_ids: Sequence[int]) -> CellRun:
        """Part the records of images that were asked from those of images that could not be read."""
        unread = self.records[self.records[SKIPPED] != ""]
        skipped = dict(zip(unread["image_id"].astype(int), unread[SKIPPED], strict=True))
        return CellRun(
            records=self.records[self.records[SKIPPED] == ""].drop(columns=SKIPPED),
            fingerprint=self.fingerprint,
            resumed=self.resumed,
            image_ids=tuple(image for image in image_ids if image not in skipped),
            skipped=skipped,
        )


def run_shards(
    identity: dict[str, Any],
    images: Sequence[T],
    make: Callable[[Sequence[T], Callable[[int], None]], pd.DataFrame],
    store: RunStore,
    *,
    at_once: int,
    description: str,
    provenance: Mapping[str, Any],
    progress: Progress,
) -> Finished:
    """Make the records of images shard by shard, unless they are in the store already, and return them all.

    Args:
        identity: everything that could change a record.
        images: what is asked about.
        make: (images of a shard, advance) -> their records.
        store: keeps them.
        at_once: images of a shard.
        description: for the progress bar.
        provenance: kept beside the records.
        progress: makes the progress bar.

    Several processes (torchrun) share the work: each takes every n-th shard, then all wait for the rest and
    take over what a dead one left.

    Raises:
        BenchError: from the model or the data; finished shards stay.
    """
    shards = [images[i : i + at_once] for i in range(0, len(images), at_once)]
    run = store.open(identity, len(shards), provenance=provenance)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    resumed = min(run.resumed * at_once, len(images))
    if run.pending():
        with progress(description, len(images), resumed) as advance:
            mine = [shard for shard in run.pending() if shard % world == rank]
            while mine or (mine := run.wait_for_all()):
                for shard in mine:
                    with run.writing(shard) as claimed:
                        if claimed:
                            run.write(shard, make(shards[shard], advance))
                mine = []
    return Finished(run.read(), run.fingerprint, resumed)


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
