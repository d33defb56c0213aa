"""Records of images, shard by shard in the run store: what is there is not made again, and processes share the rest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import pandas as pd

from bench.data import ImageInfo, read_rgb
from bench.data.contents import Contents, Progress, digest
from bench.store import RunStore
from models.errors import BenchError
from protocols.scores import CellRun

SKIPPED = "skipped"
"""Column of every record: why an image could not be asked, empty for records that count."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet(Generic[T]):
    """The images that models are asked about."""

    images: Sequence[T]
    ids: Sequence[int]
    """Their numbers in the records."""
    names: Sequence[str]
    """What tells them apart, and from those of other sets, besides the ids."""
    files: Callable[[T], Sequence[Path]]
    """What an image's records are made from."""
    read: Callable[[T], object]
    """Reads an image as models see it; BenchError if it has to be left out."""

    def identity(self) -> dict[str, Any]:
        """Return which images these are, whatever is in their files."""
        which = [f"{number} {name}" for number, name in zip(self.ids, self.names, strict=True)]
        return {"count": len(self.images), "sha256": digest(which)}

    def part(self, first: int, count: int) -> ImageSet[T]:
        """Return some of the images in a row."""
        some = slice(first, first + count)
        return replace(self, images=self.images[some], ids=self.ids[some], names=self.names[some])

    def paths(self) -> list[Path]:
        """Return the files of all images."""
        return [path for image in self.images for path in self.files(image)]

    def was_mended(self, records: pd.DataFrame) -> bool:
        """Whether an image that records leave out can be read now, be it that a disk or a decoder was at fault."""
        left_out = set(records.loc[records[SKIPPED] != "", "image_id"])
        return any(
            self._readable(image) for number, image in zip(self.ids, self.images, strict=True) if number in left_out
        )

    def _readable(self, image: T) -> bool:
        try:
            self.read(image)
        except BenchError:
            return False
        return True


def asked_about(images: Sequence[ImageInfo]) -> ImageSet[ImageInfo]:
    """Return images of an annotation file as what models are asked about; its hash tells sizes and names."""
    return ImageSet(
        images=images,
        ids=[info.id for info in images],
        names=[info.path.name for info in images],
        files=lambda info: (info.path,),
        read=lambda info: read_rgb(info.path, size=(info.height, info.width)),
    )


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
    asked: ImageSet[T],
    make: Callable[[Sequence[T], Callable[[int], None]], pd.DataFrame],
    store: RunStore,
    *,
    at_once: int,
    description: str,
    provenance: Mapping[str, Any],
    progress: Progress,
) -> Finished:
    """Make the records of images shard by shard, unless they are in the store already, and return them all.

    The run is that of the images' ids, a shard that of their bytes: a photo that is replaced or mended costs its own
    shard, and data that are copied elsewhere go on where they were.

    Args:
        identity: everything that could change a record, but for the images.
        asked: the images.
        make: (images of a shard, advance) -> their records.
        store: keeps them.
        at_once: images of a shard.
        description: for the progress bar.
        provenance: kept beside the records.
        progress: makes the progress bar.

    Several processes (torchrun) share the work: each takes every n-th shard, then all wait for the rest and
    take over what a dead one left.

    Raises:
        BenchError: from the model or the data, also if a photo changes meanwhile; finished shards stay.
    """
    parts = [asked.part(first, at_once) for first in range(0, len(asked.images), at_once)]
    contents = Contents()
    paths = [part.paths() for part in parts]
    hashes = iter(contents.hashes([path for of_part in paths for path in of_part], progress))
    before = [_content(islice(hashes, len(of_part))) for of_part in paths]
    whole = {**identity, "images": asked.identity()}
    run = store.open(whole, len(parts), contents=before, provenance=provenance)
    run.forget(SKIPPED, lambda shard, records: parts[shard].was_mended(records))
    pending = run.pending()
    resumed = len(asked.images) - sum(len(parts[shard].images) for shard in pending)

    def fill(shard: int) -> None:
        with run.writing(shard) as claimed:
            if claimed:
                records = make(parts[shard].images, advance)
                if _content(map(contents.hash, paths[shard])) != before[shard]:
                    folder = paths[shard][0].parent
                    raise BenchError(f"images of {folder} changed while models were asked: run the same command again")
                run.write(shard, records)

    if pending:
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        with progress(description, len(asked.images), resumed) as advance:
            mine = [shard for shard in pending if shard % world == rank]
            while mine or (mine := run.wait_for_all()):
                for shard in mine:
                    fill(shard)
                mine = []
    return Finished(run.read(), run.fingerprint, resumed)


def _content(hashes: Iterable[str]) -> str:
    """Return the part of a shard's name that says what its images were, 16 hex digits."""
    return digest(hashes)[:16]


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
