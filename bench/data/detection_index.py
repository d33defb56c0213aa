"""A COCO results file of any size, read once: an index on disk, from which detections are opened in no time.

Image, category, box, score and the mask's compressed runs are kept (LVIS ViTDet: 1.3 GB of masks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pycocotools import mask as rle

from bench.data.annotation_index import LARGEST_IMAGE, whole
from bench.data.boxes import xywh_to_xyxy
from bench.data.detections import NO_MASKS, Detections, ImageDetections, Mask, Masks, odd_boxes
from bench.data.jsonstream import Source, stream
from bench.data.masks import to_rle, whole_numbers
from bench.data.parsed_cache import cached_table, convert_or_explain, file_sha256, numbers
from bench.data.problems import Problem
from bench.metrics.rle import rle_totals
from models.errors import BenchError

FORMAT = 3
"""Of the index; another number makes every cached one stale."""

_BOX = pa.list_(pa.float64(), 4)
_SIZE = pa.list_(pa.int64(), 2)


def open_detections(
    path: Path | str, remedy: str = "mend or download it again (bench data verify coco-boxes)"
) -> Detections:
    """Open a COCO results file: a list of {image_id, category_id, bbox: [x, y, width, height], score, segmentation}.

    Without a segmentation an entry has no mask; without a bbox its box is that of its mask.

    Args:
        path: the file.
        remedy: what to do where it is damaged.

    Raises:
        BenchError: if the file is absent, cut short or not a list, or if an entry (its position is named)
            lacks a key, has a box or score that is not finite, or a negative width or height.
    """
    path = Path(path)
    if not path.is_file():
        raise BenchError(f"{path} is not there: put a COCO results file there (bench data verify coco-boxes)")
    source = Source(path, remedy)
    sha256 = file_sha256(path)
    table, notes = cached_table(f"detections-{sha256[:32]}-v{FORMAT}", lambda target: _build(source, target))
    return Detections(
        name=path.stem,
        sha256=sha256,
        problems=tuple(Problem(kind, count, tuple(examples)) for kind, count, examples in notes["problems"]),
        _image_id=numbers(table, "image_id"),
        _columns=ImageDetections(
            numbers(table, "detection_id"),
            numbers(table, "category_id"),
            numbers(table, "box_xyxy").reshape(-1, 4),
            numbers(table, "score"),
        ),
        _masks=None if notes["mask_problem"] else _masks(table),
        mask_problem=notes["mask_problem"] and f"{path}: {notes['mask_problem']}",
    )


def _masks(table: pa.Table) -> Masks:
    (batch,) = table.to_batches()
    return Masks(numbers(table, "mask_size").reshape(-1, 2), batch.column("counts"))


class _Part(NamedTuple):
    """A batch of entries as columns."""

    ids: np.ndarray
    """[N, 2] int64: image, category."""
    numbers: np.ndarray
    """[N, 5] float64: x, y, width, height, score."""
    masks: list[Mask | str]
    """Or why an entry has none that could be scored."""


def _build(source: Source, table: Path) -> dict[str, Any]:
    """Write the sorted columns of a results file to `table` (Arrow IPC) and return the notes."""
    parts = [_Part(np.zeros((0, 2), np.int64), np.zeros((0, 5)), [])]
    n_entries = 0
    for key, entries in stream(source):
        if key:
            raise BenchError(
                f"{source.path} is an object, as annotation files are, not a list of results: {source.remedy}"
            )
        if entries:
            parts.append(convert_or_explain(_part, entries, n_entries, "entry", source))
            n_entries += len(entries)
    ids = np.concatenate([part.ids for part in parts])
    numbers = np.concatenate([part.numbers for part in parts])
    masks = [mask for part in parts for mask in part.masks]
    problem = _mask_problem(masks)
    order = np.argsort(ids[:, 0], kind="stable")
    own = Masks.of([Mask((0, 0), "") if problem or isinstance(mask, str) else mask for mask in masks]).take(order)
    del parts, masks
    boxes = xywh_to_xyxy(numbers[:, :4])
    problems = odd_boxes(boxes)
    columns = {
        "detection_id": pa.array(order),
        "image_id": pa.array(ids[order, 0]),
        "category_id": pa.array(ids[order, 1]),
        "box_xyxy": pa.FixedSizeListArray.from_arrays(pa.array(boxes[order].ravel()), type=_BOX),
        "score": pa.array(numbers[order, 4]),
        "mask_size": pa.FixedSizeListArray.from_arrays(pa.array(own.sizes.ravel()), type=_SIZE),
        "counts": own.counts,
    }
    batch = pa.record_batch(columns)
    with pa.OSFile(str(table), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return {"problems": [astuple(problem) for problem in problems], "mask_problem": problem}


def _mask_problem(masks: Sequence[Mask | str]) -> str:
    if all(mask == _NONE for mask in masks):
        return NO_MASKS
    return next((f"entry {i:,} (counting from 0) {mask}" for i, mask in enumerate(masks) if isinstance(mask, str)), "")


_NONE = "has no mask"


def _part(entries: Sequence[dict[str, Any]]) -> _Part:
    """Turn entries into columns; numpy's own rules would let through '3', True and 1.5 as ids."""
    ids = [(whole(entry, "image_id"), whole(entry, "category_id")) for entry in entries]
    masks = [_mask(entry.get("segmentation")) for entry in entries]
    numbers = np.array([(*_box(entry, mask), entry["score"]) for entry, mask in zip(entries, masks, strict=True)])
    if numbers.dtype.kind not in "if" or numbers.shape != (len(entries), 5):
        raise ValueError("'bbox' must be four numbers and 'score' one")
    if not np.isfinite(numbers).all():
        raise ValueError("'bbox' and 'score' must be finite")
    if (numbers[:, 2:4] < 0).any():
        raise ValueError("'bbox' has a negative width or height: COCO results have [x, y, width, height]")
    return _Part(np.array(ids, dtype=np.int64), numbers.astype(np.float64), _sound(masks))


def _box(entry: dict[str, Any], mask: Mask | str) -> Sequence[float]:
    """Return an entry's [x, y, width, height]; where it has a mask alone that of the mask, as pycocotools does."""
    if "bbox" in entry or isinstance(mask, str):
        return entry["bbox"]  # type: ignore[no-any-return]
    return rle.toBbox({"size": list(mask.size), "counts": mask.counts.encode()}).tolist()  # type: ignore[no-any-return]


def _mask(segmentation: Any) -> Mask | str:
    """Read an entry's mask, compressed or not; return why if it cannot be scored."""
    if segmentation is None:
        return _NONE
    if not isinstance(segmentation, dict):
        return "has polygons in place of an RLE mask: encode them with pycocotools"
    try:
        height, width = whole_numbers(segmentation["size"], "the size")
        if not 1 <= height * width <= LARGEST_IMAGE or height < 1:
            return f"has a mask of size {height:,} x {width:,}"
        counts = segmentation["counts"]
        if not isinstance(counts, str):
            counts = to_rle({"size": [height, width], "counts": counts}, height, width)["counts"].decode()
    except (KeyError, TypeError, ValueError, BenchError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else error
        return f"has a mask that is no RLE ({what})"
    return Mask((height, width), counts)


def _sound(masks: list[Mask | str]) -> list[Mask | str]:
    """Put a reason in place of masks whose runs do not fill their images."""
    rows = [row for row, mask in enumerate(masks) if isinstance(mask, Mask)]
    found = [mask for mask in masks if isinstance(mask, Mask)]
    covered, _ = rle_totals([mask.counts for mask in found])
    for row, mask, pixels in zip(rows, found, covered.tolist(), strict=True):
        if pixels != mask.size[0] * mask.size[1]:
            masks[row] = f"has a damaged mask: its runs do not fill its {mask.size[0]} x {mask.size[1]} px"
    return masks
