"""From an annotation file to its cached index: one pass over the JSON, one over the columns."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.data.jsonstream import Source, stream
from bench.data.masks import Segmentation, are_empty, is_degenerate, to_mask, whole_numbers
from bench.data.parsed_cache import convert_or_explain
from bench.data.problems import Tally
from models.errors import BenchError

FORMAT = 3
"""Of the index; another number makes every cached one stale."""

ROWS = 4096
"""In a batch of the index. Opening reads ids and boxes only; small batches would strew them over every page."""

LARGEST_ID = (1 << 53) - 1
"""Ids beyond it are changed by programs that keep JSON's numbers as floats."""
LONGEST_NAME = 255
"""Bytes of a file's name that file systems take."""
LARGEST_IMAGE = 1 << 29
"""px. What compressed run lengths can tell of, see `bench.metrics.rle`; a file that says more is damaged."""

STRAY = "annotation of a category that is not listed, which no AP counts"
ORPHAN = "annotation of an image that is not listed"
DEGENERATE = "degenerate polygon"
EMPTY = "empty mask"
OUTSIDE = "box outside the image, clipped"

BOX_TOLERANCE = 0.5
"""px. Published boxes are rounded to 0.01 px and often end that much outside; only more is worth counting."""

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("image_id", pa.int64()),
        ("category_id", pa.int64()),
        ("area", pa.float64()),
        ("bbox", pa.list_(pa.float64(), 4)),
        ("iscrowd", pa.int64()),
        ("polygons", pa.list_(pa.list_(pa.float64()))),
        ("rle_size", pa.list_(pa.int64())),
        ("rle_runs", pa.list_(pa.int64())),
        ("rle_text", pa.string()),
    ]
)
"""Of the annotations, in file order. Of the last four, polygons are given, or a size and runs or text."""

_FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")
_REQUIRED = ("id", "image_id", "category_id", "area", "bbox", "iscrowd")
_IDS = ("id", "image_id", "category_id")
_FREQUENCIES = ("r", "c", "f")


@dataclass(frozen=True, slots=True)
class Format:
    """What differs between the annotation files of two data sets."""

    name: str
    image_file: Callable[[dict[str, Any]], str]
    """From an image's entry to its path under the folder of photos; KeyError if the entry lacks a key."""
    federated: bool = False
    """Whether every image must state which categories were looked for in it, as in LVIS."""


def build(source: Source, form: Format, table: Path) -> dict[str, Any]:
    """Write the annotations of a file to `table` (Arrow IPC, `SCHEMA`); return everything else as notes.

    Notes: images [[id, file, height, width, neg_category_ids, not_exhaustive_category_ids], ...] in id order,
    categories [[id, name], ...], problems [[kind, count, examples], ...], empty (rows without a pixel).

    Raises:
        BenchError: if the file is not a whole and consistent annotation file.
    """
    images: list[list[Any]] = []
    categories: list[list[Any]] = []
    seen: set[str] = set()
    n_rows = 0
    with pa.OSFile(str(table), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        last = None
        for key, elements in stream(source, batch=ROWS):
            if key in seen and key != last:
                raise BenchError(f"{source.path} has '{key}' twice at its top level: {source.remedy}")
            seen.add(key)
            last = key
            if key == "annotations":
                writer.write_batch(convert_or_explain(_columns, elements, n_rows, "annotation", source))
                n_rows += len(elements)
            elif key == "images":
                images += convert_or_explain(partial(_images, form), elements, len(images), "image", source)
            elif key == "categories":
                convert = partial(_categories, form)
                categories += convert_or_explain(convert, elements, len(categories), "category", source)
    _require_keys(seen, source)
    if not categories:
        raise BenchError(f"{source.path} lists no categories, without which there is no AP: {source.remedy}")
    images.sort()
    _require_unique([image[0] for image in images], "image", source)
    _require_unique([category[0] for category in categories], "category", source)
    sizes = {image[0]: (image[2], image[3]) for image in images}
    examined = _Examiner(sizes, {category[0] for category in categories}, form, source).examine(table)
    return {"images": images, "categories": categories, **examined}


def segmentation_at(batch: pa.RecordBatch, row: int) -> Segmentation:
    """Return one annotation's segmentation as the file has it (integers in polygons become floats)."""
    polygons, size, runs, text = (column[row].as_py() for column in batch.columns[-4:])
    if polygons is not None:
        return list(polygons)
    return {"size": size, "counts": text if runs is None else runs}


def _columns(entries: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Turn annotation entries into columns."""
    ids = {name: [whole(entry, name) for entry in entries] for name in _IDS}
    if 0 in ids["id"]:
        raise ValueError("'id' is 0, which evaluators take for 'no match': number annotations from 1 on")
    segmentations = [entry["segmentation"] for entry in entries]
    if not all(isinstance(segmentation, (list, dict)) for segmentation in segmentations):
        raise ValueError("'segmentation' is neither a list of polygons nor an RLE")
    if any(isinstance(s, list) and s and isinstance(s[0], (int, float)) for s in segmentations):
        raise ValueError("'segmentation' is a flat list: polygons are lists in a list, [[x1, y1, x2, y2, ...], ...]")
    rles = [None if isinstance(segmentation, list) else segmentation for segmentation in segmentations]
    counts = [None if rle is None else _counts(rle) for rle in rles]
    columns = {
        **ids,
        **{name: [entry[name] for entry in entries] for name in ("area", "bbox")},
        "iscrowd": [_crowd(entry) for entry in entries],
        "polygons": [_without_null(s) if isinstance(s, list) else None for s in segmentations],
        "rle_size": [None if rle is None else rle["size"] for rle in rles],
        "rle_runs": [runs if isinstance(runs, list) else None for runs in counts],
        "rle_text": [None if isinstance(text, list) else text for text in counts],
    }
    batch = pa.record_batch([pa.array(columns[field.name], field.type) for field in SCHEMA], schema=SCHEMA)
    for name in _REQUIRED:
        if batch.column(name).null_count:
            raise ValueError(f"'{name}' is null")
    if not np.isfinite(_boxes(batch)).all() or not np.isfinite(batch.column("area").to_numpy()).all():
        raise ValueError("'bbox' and 'area' must be finite numbers")
    if (_boxes(batch)[:, 2:] < 0).any():
        raise ValueError("'bbox' has a negative width or height")
    return batch


def _counts(rle: dict[str, Any]) -> list[int] | str:
    """Return an RLE's counts; Arrow would cut off fractions."""
    counts, size = rle["counts"], rle["size"]
    if not isinstance(counts, (list, str)) or not isinstance(size, list):
        raise ValueError("its RLE's 'size' is no list, or its 'counts' are neither a list nor text")
    if None in (*size, *counts):
        raise ValueError("its RLE has a null")
    try:
        whole_numbers(size, "the size")
        return whole_numbers(counts, "the count") if isinstance(counts, list) else counts
    except BenchError as problem:
        raise ValueError(problem) from None


def _without_null(polygons: list[Any]) -> list[list[float]]:
    """Write NaN for null, which other programs write for it."""
    if not any(polygon is None or None in polygon for polygon in polygons):
        return polygons
    return [[math.nan if number is None else number for number in polygon or ()] for polygon in polygons]


def _boxes(batch: pa.RecordBatch) -> np.ndarray:
    """Return the boxes [N, 4] xywh; null becomes NaN."""
    return np.asarray(batch.column("bbox").flatten().to_numpy(zero_copy_only=False), dtype=np.float64).reshape(-1, 4)


def whole(entry: dict[str, Any], key: str, largest: int = LARGEST_ID) -> int:
    """Return a whole number of 0 to `largest`; 3.0 is 3, as it is to pycocotools, but true is no number."""
    value = entry[key]
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= largest:
        raise ValueError(f"'{key}' is {_short(value)}, not a whole number of 0 to {largest:,}")
    return value


def _crowd(entry: dict[str, Any]) -> int:
    value = entry.get("iscrowd", 0)
    if value not in (0, 1):
        raise ValueError(f"'iscrowd' is {_short(value)}, neither 0 nor 1")
    return int(value)


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:36]} ..."


def _images(form: Format, entries: Sequence[dict[str, Any]]) -> list[list[Any]]:
    return [_image(form, entry) for entry in entries]


def _image(form: Format, entry: dict[str, Any]) -> list[Any]:
    height, width = (whole(entry, side, LARGEST_IMAGE) for side in ("height", "width"))
    if not 1 <= height * width <= LARGEST_IMAGE:
        raise ValueError(f"its size is {height:,} x {width:,}, not 1 to {LARGEST_IMAGE:,} px in all")
    lists = [[int(category) for category in (entry[key] if form.federated else ())] for key in _FEDERATED]
    return [whole(entry, "id"), _file(form, entry), height, width, *lists]


def _file(form: Format, entry: dict[str, Any]) -> str:
    """Return where an image is; files that Windows wrote have backslashes.

    Raises:
        ValueError: if it names no file that could be below the folder of photos.
    """
    try:
        file = form.image_file(entry).replace("\\", "/")
    except (AttributeError, TypeError):
        raise ValueError("its 'file_name' or 'coco_url' is no text") from None
    odd = "\0" in file or any(0xD800 <= ord(character) < 0xE000 for character in file)
    parts = file.split("/")
    if odd or not parts[-1] or ".." in parts or file.startswith("/") or len(max(parts, key=len)) > LONGEST_NAME:
        raise ValueError(f"it names the file {_short(file)}, which no file under the folder of photos can be called")
    return file


def _categories(form: Format, entries: Sequence[dict[str, Any]]) -> list[list[Any]]:
    return [_category(form, entry) for entry in entries]


def _category(form: Format, entry: dict[str, Any]) -> list[Any]:
    number = whole(entry, "id")
    if form.federated and entry["frequency"] not in _FREQUENCIES:
        raise ValueError(f"'frequency' is {_short(entry['frequency'])}, none of r, c and f")
    # A lone surrogate cannot be written or printed; no metric reads names.
    return [number, str(entry.get("name", number)).encode(errors="replace").decode()]


def _require_keys(seen: set[str], source: Source) -> None:
    if "" in seen:
        raise BenchError(f"{source.path} is a list, as detections are, not an annotation file: {source.remedy}")
    absent = [repr(key) for key in ("images", "annotations", "categories") if key not in seen]
    if absent:
        raise BenchError(f"{source.path} has no list {' or '.join(absent)} at its top level: {source.remedy}")


def _require_unique(ids: Sequence[int], noun: str, source: Source) -> None:
    values, counts = np.unique(np.asarray(ids, dtype=np.int64), return_counts=True)
    if (counts > 1).any():
        raise BenchError(f"{source.path} has the {noun} id {values[counts > 1][0]} more than once: {source.remedy}")


class _Examiner:
    """The pass over the columns, once all image sizes are known."""

    def __init__(self, sizes: dict[int, tuple[int, int]], categories: set[int], form: Format, source: Source) -> None:
        self._sizes, self._categories, self._form, self._source = sizes, categories, form, source
        self._tally = Tally()
        self._n_orphans = 0

    def examine(self, table: Path) -> dict[str, Any]:
        """Return the notes `problems` and `empty`."""
        empty: list[int] = []
        n_rows = 0
        with pa.memory_map(str(table)) as file:
            reader = pa.ipc.open_file(file)
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            ids = [number for batch in batches for number in batch.column("id").to_pylist()]
            _require_unique(ids, "annotation", self._source)
            for batch in batches:
                empty += [n_rows + row for row in self._examine_batch(batch)]
                n_rows += len(batch)
        if n_rows and self._n_orphans == n_rows:
            strangers = f"{n_rows:,} annotations, none of an image that it lists"
            raise BenchError(f"{self._source.path} has {strangers}: {self._source.remedy}")
        return {"problems": [astuple(problem) for problem in self._tally.problems()], "empty": empty}

    def _examine_batch(self, batch: pa.RecordBatch) -> list[int]:
        """Tally a batch's problems; return its rows without a pixel."""
        ids = batch.column("id").to_numpy()
        image_ids = batch.column("image_id").to_pylist()
        covered = np.zeros(len(batch), dtype=bool)
        polygons: dict[tuple[int, int], list[list[float]]] = defaultdict(list)
        owners: dict[tuple[int, int], list[int]] = defaultdict(list)
        listed = np.array([image_id in self._sizes for image_id in image_ids], dtype=bool)
        known = np.array([c in self._categories for c in batch.column("category_id").to_pylist()], dtype=bool)
        self._tally.add(STRAY, ids[~known])
        crowds = np.flatnonzero(batch.column("iscrowd").to_numpy())
        if self._form.federated and crowds.size:
            raise BenchError(
                f"{self._source.path}: annotation {ids[crowds[0]]} is marked as a crowd, which LVIS v1 has none of: "
                f"remove the marks, or {self._source.remedy}"
            )
        for row in np.flatnonzero(listed):
            size = self._sizes[image_ids[row]]
            segmentation = segmentation_at(batch, int(row))
            if isinstance(segmentation, dict):
                covered[row] = self._has_pixels(int(ids[row]), segmentation, size)
                continue
            sound = [polygon for polygon in segmentation if not is_degenerate(polygon)]
            self._tally.add(DEGENERATE, [ids[row]] * (len(segmentation) - len(sound)))
            polygons[size] += sound
            owners[size] += [int(row)] * len(sound)
        for size, group in polygons.items():
            if group:
                covered[np.array(owners[size])[~are_empty(group, *size)]] = True
        self._tally.add(EMPTY, ids[listed & ~covered])
        self._tally.add(ORPHAN, ids[~listed])
        self._n_orphans += int((~listed).sum())
        self._tally_boxes(batch, listed)
        return [int(row) for row in np.flatnonzero(listed & ~covered)]

    def _has_pixels(self, annotation_id: int, rle: dict[str, Any], size: tuple[int, int]) -> bool:
        try:
            return bool(to_mask(rle, *size).any())
        except BenchError as problem:
            raise BenchError(
                f"{self._source.path}: annotation {annotation_id}: {problem}: {self._source.remedy}"
            ) from None

    def _tally_boxes(self, batch: pa.RecordBatch, listed: np.ndarray) -> None:
        boxes = _boxes(batch)[listed]
        image_ids = batch.column("image_id").to_numpy()[listed]
        sizes = np.array([self._sizes[int(i)] for i in image_ids], dtype=np.float64).reshape(-1, 2)
        outside = (boxes[:, :2] < -BOX_TOLERANCE).any(axis=1)
        outside |= (boxes[:, :2] + boxes[:, 2:] > sizes[:, ::-1] + BOX_TOLERANCE).any(axis=1)
        self._tally.add(OUTSIDE, batch.column("id").to_numpy()[listed][outside])
