"""Records of images, shard by shard in the run store: finished shards are reused, and processes share the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd

from bench.data import ImageInfo, read_rgb
from bench.data.contents import Contents, Progress, digest
from bench.processes import this_process
from bench.read_ahead import read_ahead
from bench.store import RunStore
from models.errors import BenchError, MissingData, UnsupportedPrompt
from protocols.scores import CellRun, Refused

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[T]):
    """One run of the store that is to be finished."""

    identity: Mapping[str, Any]
    """Everything that could change a record, but for the images."""
    asked: ImageSet[T]
    make: Callable[[Sequence[T], Callable[[int], None]], pd.DataFrame]
    """(images of a shard, advance) -> their records."""
    at_once: int
    """Images of a shard; a killed run loses at most one shard."""
    description: str
    """For the progress bar."""
    times: Sequence[str] = ()
    """Columns of the records that are never the same twice, since they hold measured times."""

    def whole_identity(self) -> dict[str, Any]:
        """Return everything that tells the run from others, the images included."""
        return {**self.identity, "images": self.asked.identity()}

    def parts(self) -> list[ImageSet[T]]:
        """Return the images of each shard."""
        return [self.asked.part(first, self.at_once) for first in range(0, len(self.asked.images), self.at_once)]


def contents_of(parts: Sequence[ImageSet[Any]], contents: Contents, progress: Progress) -> list[str]:
    """Return for each shard what the files of its images hold, as the part of its name that says so."""
    paths = [part.paths() for part in parts]
    hashes = iter(contents.hashes([path for of_part in paths for path in of_part], progress))
    return [_content(islice(hashes, len(of_part))) for of_part in paths]


def run_shards(
    jobs: Sequence[Job[Any]], store: RunStore, *, provenance: Mapping[str, Any], progress: Progress
) -> list[CellRun | Refused]:
    """Make the records that runs lack, shard by shard, and return the runs in the order of their jobs.

    Jobs go on side by side: the first shard of each, the second of each, and so on. The run is that of the images'
    ids, a shard that of their bytes: a photo that is replaced or mended costs its own shard, and data that are copied
    elsewhere go on where they were. Several processes (torchrun) share the work: each takes every n-th shard, then all
    wait for the rest and take over what a dead one left. A job whose model cannot take its prompts, or whose data are
    not there, is refused alone.

    Raises:
        BenchError: from a model or its data, also if a photo changes meanwhile; finished shards stay.
    """
    runs = [_Opened(job, store, provenance, progress) for job in jobs]
    rank, world = this_process()
    with ExitStack() as bars:
        for run in runs:
            run.show(bars, progress)
        for shard in range(max(len(run.parts) for run in runs)):
            for run in runs:
                if shard % world == rank and shard in run.pending:
                    run.fill(shard)
        for run in runs:
            while not run.refused and (rest := run.run.wait_for_all()):
                for shard in rest:
                    run.fill(shard)
    return [run.refused or run.finished() for run in runs]


class _Opened:
    """A job, its run in the store and the shards that are to be made."""

    def __init__(self, job: Job[Any], store: RunStore, provenance: Mapping[str, Any], progress: Progress) -> None:
        self.job, self.contents = job, Contents()
        self.parts = job.parts()
        self.before = contents_of(self.parts, self.contents, progress)
        self.run = store.open(job.whole_identity(), len(self.parts), contents=self.before, provenance=provenance)
        self.run.forget(SKIPPED, lambda shard, records: self.parts[shard].was_mended(records))
        self.pending = set(self.run.pending())
        self.resumed = len(job.asked.images) - sum(len(self.parts[shard].images) for shard in self.pending)
        self.refused: Refused | None = None
        self.advance: Callable[[int], None] = lambda images: None

    def show(self, bars: ExitStack, progress: Progress) -> None:
        """Show a progress bar where there is something to do."""
        if self.pending:
            total = len(self.job.asked.images)
            self.advance = bars.enter_context(progress(self.job.description, total, self.resumed))

    def fill(self, shard: int) -> None:
        """Make the records of a shard, unless another process has done it or is about it."""
        if self.refused:
            return
        with self.run.writing(shard) as claimed:
            if not claimed:
                return
            try:
                records = self.job.make(self.parts[shard].images, self.advance)
            except (UnsupportedPrompt, MissingData) as refusal:
                unsupported = isinstance(refusal, UnsupportedPrompt)
                self.refused = Refused("not supported" if unsupported else "data missing", str(refusal))
                return
            paths = self.parts[shard].paths()
            if _content(map(self.contents.hash, paths)) != self.before[shard]:
                folder = paths[0].parent
                raise BenchError(f"images of {folder} changed while models were asked: run the same command again")
            self.run.write(shard, records)

    def finished(self) -> CellRun:
        """Return the records of images that were asked, apart from images that could not be read."""
        records = self.run.read()
        unread = records[records[SKIPPED] != ""]
        skipped = dict(zip(unread["image_id"].astype(int), unread[SKIPPED], strict=True))
        return CellRun(
            records=records[records[SKIPPED] == ""].drop(columns=SKIPPED),
            fingerprint=self.run.fingerprint,
            resumed=self.resumed,
            image_ids=tuple(image for image in self.job.asked.ids if image not in skipped),
            skipped=skipped,
            adopted=self.run.adopted(),
        )


def _content(hashes: Iterable[str]) -> str:
    """Return the part of a shard's name that says what its images were, 16 hex digits."""
    return digest(hashes)[:16]


def records_of(
    images: Sequence[ImageInfo],
    types: Mapping[str, str],
    ask: Callable[[ImageInfo, np.ndarray], Iterable[Mapping[str, object]]],
    advance: Callable[[int], None],
) -> pd.DataFrame:
    """Return the records of images, and for one that cannot be read a blank record that says why.

    Args:
        images: of an annotation file.
        types: columns of the records and their types.
        ask: (image, uint8 [H, W, 3] RGB) -> its records.
        advance: told of images as they are done.
    """
    types = {**types, SKIPPED: "str"}
    rows: list[Mapping[str, object]] = []
    with closing(read_ahead(_photo, images)) as photos:
        for info, photo in zip(images, photos, strict=True):
            if isinstance(photo, BenchError):
                blank = {name: "" if kind == "str" else 0 for name, kind in types.items()}
                rows.append({**blank, "image_id": info.id, SKIPPED: str(photo)})
            else:
                rows += [{**row, SKIPPED: ""} for row in ask(info, photo)]
            advance(1)
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _photo(info: ImageInfo) -> np.ndarray | BenchError:
    """Read an image, or return why it cannot be read."""
    try:
        return read_rgb(info.path, size=(info.height, info.width))
    except BenchError as unreadable:
        return unreadable
