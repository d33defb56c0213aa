"""Annotated instances of COCO val2017 and LVIS v1 val: images, and the annotations of one image at a time.

The annotation file is parsed once (`bench.data.annotation_index`) and its index cached by content; opening it
again maps the index into memory, and `annotations(image_id)` reads the rows of that image only.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bench.data import annotation_index
from bench.data.annotation_index import Format
from bench.data.boxes import clip_xyxy, xywh_to_xyxy
from bench.data.catalog import COCO, COCO_TRAIN, INSTANCE_SETS, LVIS, InstanceSet, missing
from bench.data.jsonstream import Source
from bench.data.masks import Segmentation, to_mask
from bench.data.parsed_cache import cached_table, file_sha256, numbers
from bench.data.problems import Problem, Tally
from models.errors import BenchError, MissingData, unknown_name

PHOTOS = "coco"
"""The folder under the data root that holds val2017 and train2017, for both data sets."""
NOT_ON_DISK = "image file that is not on disk"


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image of a data set."""

    id: int
    path: Path
    height: int
    """px, as the annotation file states it."""
    width: int
    neg_category_ids: tuple[int, ...] = ()
    """LVIS: categories verified to be absent; a detection of one is a false alarm."""
    not_exhaustive_category_ids: tuple[int, ...] = ()
    """LVIS: categories of which not all instances are annotated; unmatched detections are ignored."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotated instance."""

    id: int
    image_id: int
    category_id: int
    area: float
    """px², as the annotation file states it."""
    box_xyxy: tuple[float, float, float, float]
    """px, as the annotation file states it, clipped to the image."""
    written_box_xyxy: tuple[float, float, float, float]
    """px, not clipped."""
    iscrowd: bool
    segmentation: Segmentation = field(repr=False)
    """As in the file, degenerate polygons included."""

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return the mask bool [height, width]: the RLE, or the union of the polygons that enclose something.

        Raises:
            BenchError: if an RLE is of another size.
        """
        try:
            return to_mask(self.segmentation, height, width)
        except BenchError as problem:
            raise BenchError(f"annotation {self.id} of image {self.image_id}: {problem}") from None


class Labels(NamedTuple):
    """What is annotated where, without the masks: one entry for each annotation that has a pixel."""

    image_id: np.ndarray
    """int64 [N]."""
    category_id: np.ndarray
    """int64 [N]."""
    iscrowd: np.ndarray
    """bool [N]."""


@dataclass(frozen=True)
class Instances:
    """A data set of annotated instances."""

    name: str
    """coco or lvis, or that of a user's own file."""
    annotation_path: Path
    sha256: str
    """Of the annotation file."""
    images: tuple[ImageInfo, ...]
    """Those on disk, in id order."""
    categories: dict[int, str]
    """Id to name."""
    n_annotations: int
    """In the file, with those that `problems` says are skipped."""
    problems: tuple[Problem, ...]
    """What was skipped or clipped."""
    _rows: _Rows = field(repr=False, compare=False)

    def annotations(self, image_id: int, *, with_empty: bool = False) -> list[Annotation]:
        """Return an image's annotations in file order, those that have no pixel only if they are asked for.

        Raises:
            BenchError: if the annotation file does not list the image.
        """
        return self._rows.of(image_id, with_empty)

    def labels(self) -> Labels:
        """Return what is annotated in all images at once, without reading a mask."""
        return self._rows.labels()

    @property
    def sizes(self) -> Mapping[int, tuple[int, int]]:
        """Return (height, width) of every image that the file lists, on disk or not."""
        return self._rows.sizes


def open_instances(name: str, root: Path | str) -> Instances:
    """Open coco (val2017), coco-train (train2017) or lvis (v1 val) under the data root, with photos in root/coco/.

    Where each annotation file is, `bench.data.catalog` says.

    Raises:
        BenchError: if there is no such data set, it is not under `root`, or its annotation file is damaged.
    """
    if name not in _FORMATS:
        raise unknown_name("data set", name, _FORMATS)
    return _open(*_FORMATS[name], Path(root))


def _coco_file(split: str, entry: dict[str, Any]) -> str:
    return f"{split}/{entry['file_name']}"


def _lvis_file(entry: dict[str, Any]) -> str:
    # LVIS has no file names; its images are in COCO's train2017 and val2017.
    return "/".join(entry["coco_url"].split("/")[-2:])


_FORMATS: dict[str, tuple[InstanceSet, Format]] = {
    "coco": (COCO, Format("coco", partial(_coco_file, "val2017"))),
    "coco-train": (COCO_TRAIN, Format("coco-train", partial(_coco_file, "train2017"))),
    "lvis": (LVIS, Format("lvis", _lvis_file, federated=True)),
}


def _open(published: InstanceSet, form: Format, root: Path) -> Instances:
    path = root / published.annotation_file
    if not path.is_file():
        raise missing(path, root, (published.annotations_from, *published.images_from))
    checked = f" (bench data verify {form.name})" if form.name in INSTANCE_SETS else ""

    def nothing_there(first: str) -> MissingData:
        return missing(root / PHOTOS / os.path.dirname(first), root, published.images_from)

    return open_files(form, path, root / PHOTOS, f"download it again{checked}", nothing_there, name=form.name)


def open_files(
    form: Format, path: Path, photos: Path, remedy: str, nothing_there: Callable[[str], MissingData], *, name: str
) -> Instances:
    """Open an annotation file, wherever it is.

    Args:
        form: its format.
        path: the file.
        photos: folder of the photos.
        remedy: what to do where the file is damaged.
        nothing_there: returns the error for photos none of which is on disk, given the first one's path below `photos`.
        name: of the data set.

    Raises:
        BenchError: if the file is damaged or no photo is there.
    """
    source = Source(path, remedy)
    sha256 = file_sha256(path)
    columns, notes = cached_table(
        f"{form.name}-{sha256[:32]}-v{annotation_index.FORMAT}",
        lambda table: annotation_index.build(source, form, table),
    )
    present = _on_disk(photos, [file for _, file, *_ in notes["images"]])
    if notes["images"] and not any(present):
        raise nothing_there(notes["images"][0][1])
    listed = list(zip(notes["images"], present, strict=True))
    tally = Tally()
    tally.add(NOT_ON_DISK, (id_ for (id_, *_), there in listed if not there))
    found = tuple(Problem(kind, count, tuple(examples)) for kind, count, examples in notes["problems"])
    return Instances(
        name=name,
        annotation_path=path,
        sha256=sha256,
        images=tuple(
            ImageInfo(id_, Path(f"{photos}/{file}"), height, width, tuple(absent), tuple(partial))
            for (id_, file, height, width, absent, partial), there in listed
            if there
        ),
        categories={id_: name for id_, name in notes["categories"]},
        n_annotations=columns.num_rows,
        problems=found + tally.problems(),
        _rows=_Rows(columns, {id_: (h, w) for id_, _, h, w, *_ in notes["images"]}, notes["empty"], path),
    )


def _on_disk(folder: Path, files: Sequence[str]) -> list[bool]:
    """Return which files are there; each folder is listed once, not one file after another looked up."""
    present = {
        parent: set(os.listdir(folder / parent)) if (folder / parent).is_dir() else set()
        for parent in {os.path.dirname(file) for file in files}
    }
    return [os.path.basename(file) in present[os.path.dirname(file)] for file in files]


class _Rows:
    """The annotations' columns, and which rows are whose."""

    def __init__(self, columns: pa.Table, sizes: dict[int, tuple[int, int]], empty: list[int], path: Path) -> None:
        self._batches = columns.to_batches()
        self._starts = [0, *accumulate(len(batch) for batch in self._batches)]
        self.sizes, self._path = sizes, path
        self._boxes_xyxy = xywh_to_xyxy(numbers(columns, "bbox").reshape(-1, 4))
        self._light = {name: numbers(columns, name) for name in ("id", "image_id", "category_id", "area", "iscrowd")}
        usable = np.ones(columns.num_rows, dtype=bool)
        usable[empty] = False
        order = np.argsort(self._light["image_id"], kind="stable")
        self._order, self._with_empty = order[usable[order]], order
        self._image_ids = self._light["image_id"][self._order]
        self._image_ids_with_empty = self._light["image_id"][order]

    def of(self, image_id: int, with_empty: bool) -> list[Annotation]:
        """Return an image's annotations."""
        if image_id not in self.sizes:
            raise BenchError(f"{self._path} lists no image {image_id}: take ids from `Instances.images`")
        order = self._with_empty if with_empty else self._order
        image_ids = self._image_ids_with_empty if with_empty else self._image_ids
        first, last = np.searchsorted(image_ids, [image_id, image_id + 1])
        rows = order[first:last]
        written = self._boxes_xyxy[rows]
        boxes = clip_xyxy(written, self.sizes[image_id])
        columns = (self._light[name][rows].tolist() for name in ("id", "category_id", "area", "iscrowd"))
        return [
            Annotation(id_, image_id, category_id, area, tuple(box), tuple(whole), bool(crowd), self._segmentation(row))
            for row, box, whole, id_, category_id, area, crowd in zip(
                rows.tolist(), boxes.tolist(), written.tolist(), *columns, strict=True
            )
        ]

    def labels(self) -> Labels:
        """Return what is annotated, by image."""
        category_id, crowd = (self._light[name][self._order] for name in ("category_id", "iscrowd"))
        return Labels(self._image_ids, category_id, crowd.astype(bool))

    def _segmentation(self, row: int) -> Segmentation:
        batch = bisect_right(self._starts, row) - 1
        return annotation_index.segmentation_at(self._batches[batch], row - self._starts[batch])
