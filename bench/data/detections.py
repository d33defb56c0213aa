"""A detector's boxes and masks: a COCO results file of any size, read once, then one image at a time.

Image, category, box, score and the mask's compressed runs are kept, on disk (LVIS ViTDet: 1.3 GB of masks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pycocotools import mask as rle

from bench.data.annotation_index import LARGEST_IMAGE, whole
from bench.data.boxes import xywh_to_xyxy
from bench.data.instances import Instances
from bench.data.jsonstream import Source, stream
from bench.data.masks import to_rle, whole_numbers
from bench.data.parsed_cache import cached_table, convert_or_explain, file_sha256, numbers
from bench.data.problems import Problem, Tally
from bench.metrics.rle import rle_totals
from models.errors import BenchError

FORMAT = 3
"""Of the index; another number makes every cached one stale."""
ZERO_AREA = "box without area"
UNLISTED_IMAGE = "detection of an image that the annotation file does not list, which is not asked"
UNLISTED_CATEGORY = "detection of a category that the annotation file does not list, which no AP counts"

NO_MASKS = "the boxes come without masks"

_BOX = pa.list_(pa.float64(), 4)
_SIZE = pa.list_(pa.int64(), 2)


class ImageDetections(NamedTuple):
    """The D detections of one image, in file order."""

    detection_id: np.ndarray
    """[D] int64, position in the file, counting from 0."""
    category_id: np.ndarray
    """[D] int64."""
    boxes_xyxy: np.ndarray
    """[D, 4] float64, px; not clipped to the image."""
    scores: np.ndarray
    """[D] float64."""


class Mask(NamedTuple):
    """A detector's mask of one object."""

    size: tuple[int, int]
    """(height, width) px."""
    counts: str
    """Compressed runs, as COCO writes them."""


class Masks(NamedTuple):
    """The masks of N detections as columns."""

    sizes: np.ndarray
    """[N, 2] int64, height and width, px."""
    counts: pa.Array
    """[N] strings."""

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> Masks:
        """Make columns of masks."""
        sizes = np.array([mask.size for mask in masks], dtype=np.int64).reshape(-1, 2)
        return cls(sizes, pa.array([mask.counts for mask in masks], pa.large_string()))

    def take(self, order: np.ndarray) -> Masks:
        """Return the masks in another order."""
        return Masks(self.sizes[order], self.counts.take(pa.array(order)))

    def between(self, first: int, last: int) -> list[Mask]:
        """Return masks first to last - 1."""
        counts = self.counts.slice(first, last - first).to_pylist()
        return [Mask(tuple(size), text) for size, text in zip(self.sizes[first:last].tolist(), counts, strict=True)]


@dataclass(frozen=True)
class Detections:
    """All detections of a detector, sorted by image and then by position in the file."""

    name: str
    sha256: str
    """Of the file, or of whatever the arrays were made from."""
    problems: tuple[Problem, ...]
    """What is odd about them; nothing is skipped."""
    _image_id: np.ndarray = field(repr=False, compare=False)
    _columns: ImageDetections = field(repr=False, compare=False)
    _masks: Masks | None = field(repr=False, compare=False)
    mask_problem: str = ""
    """Why there are no masks that could be scored, naming the first entry at fault; empty if all are sound."""

    @classmethod
    def from_arrays(
        cls,
        image_id: np.ndarray | Sequence[int],
        category_id: np.ndarray | Sequence[int],
        boxes_xyxy: np.ndarray | Sequence[Sequence[float]],
        scores: np.ndarray | Sequence[float],
        name: str,
        sha256: str,
    ) -> Detections:
        """Make detections of arrays, without masks; a detection's id is its position in them.

        Args:
            image_id: [N].
            category_id: [N].
            boxes_xyxy: [N, 4], px.
            scores: [N].
            name: of the detector.
            sha256: what identifies these boxes in the run store, e.g. of their seed and recipe.

        Raises:
            BenchError: if lengths disagree, a number is not finite, or a box has x2 < x1 or y2 < y1.
        """
        images, categories = np.asarray(image_id, dtype=np.int64), np.asarray(category_id, dtype=np.int64)
        boxes = np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)
        values = np.asarray(scores, dtype=np.float64)
        if not images.shape == categories.shape == values.shape == (len(boxes),):
            shapes = ", ".join(str(list(array.shape)) for array in (images, categories, boxes, values))
            raise BenchError(f"detections '{name}' need [N], [N], [N, 4] and [N], got {shapes}")
        wrong = ~(np.isfinite(boxes).all(axis=1) & np.isfinite(values) & (boxes[:, 2:] >= boxes[:, :2]).all(axis=1))
        if wrong.any():
            raise BenchError(
                f"detection {int(wrong.argmax())} of '{name}' must be finite with x1 <= x2 and y1 <= y2, "
                f"got box {boxes[wrong][0].tolist()} and score {values[wrong][0]}"
            )
        order = np.argsort(images, kind="stable")
        columns = ImageDetections(order, categories[order], boxes[order], values[order])
        return cls(name, sha256, _odd(boxes), images[order], columns, None, f"{name}: {NO_MASKS}")

    @property
    def image_ids(self) -> np.ndarray:
        """Return the images that have detections, [I] int64 ascending."""
        return np.unique(self._image_id)

    @property
    def has_masks(self) -> bool:
        """Whether the detector gave every box a mask of its own."""
        return self._masks is not None

    def for_image(self, image_id: int) -> ImageDetections:
        """Return an image's detections, none if the file has none; the arrays are the caller's own."""
        first, last = np.searchsorted(self._image_id, [image_id, image_id + 1])
        return ImageDetections(*(column[first:last].copy() for column in self._columns))

    def counts(self, image_ids: Sequence[int]) -> np.ndarray:
        """Return how many detections each image has, int64 [N]."""
        first, last = np.searchsorted(self._image_id, np.asarray(image_ids)[:, None] + np.array([0, 1])).T
        return last - first

    def misplaced_mask(self, sizes: Mapping[int, tuple[int, int]]) -> str:
        """Say which mask is not of its image's size, empty if none is.

        Args:
            sizes: (height, width) of images by id; detections of other images are not looked at.
        """
        if self._masks is None:
            return self.mask_problem
        for row, image_id in enumerate(self._image_id.tolist()):
            found = tuple(self._masks.sizes[row].tolist())
            if image_id in sizes and found != sizes[image_id]:
                entry = f"entry {self._columns.detection_id[row]:,} (counting from 0) of {self.name}"
                return f"{entry} has a mask of size {list(found)}, image {image_id} is {list(sizes[image_id])}"
        return ""

    def strangers(self, instances: Instances) -> tuple[Problem, ...]:
        """Return the detections that no AP counts, as evaluators pass over them: of unlisted images or categories."""
        tally = Tally()
        for kind, column, known in (
            (UNLISTED_IMAGE, self._image_id, instances.sizes),
            (UNLISTED_CATEGORY, self._columns.category_id, instances.categories),
        ):
            unknown = ~np.isin(column, np.fromiter(known, np.int64))
            tally.add(kind, np.sort(self._columns.detection_id[unknown]))
        return tally.problems()

    def masks_for_image(self, image_id: int) -> list[Mask]:
        """Return the detector's own masks of `for_image`, in its order.

        Raises:
            BenchError: if there are none.
        """
        if self._masks is None:
            raise BenchError(f"{self.mask_problem}: take a results file with segmentations")
        first, last = np.searchsorted(self._image_id, [image_id, image_id + 1]).tolist()
        return self._masks.between(first, last)

    def __len__(self) -> int:
        return len(self._image_id)


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
    problems = _odd(boxes)
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


def _odd(boxes_xyxy: np.ndarray) -> tuple[Problem, ...]:
    tally = Tally()
    flat = (boxes_xyxy[:, 2:] <= boxes_xyxy[:, :2]).any(axis=1)
    tally.add(ZERO_AREA, np.flatnonzero(flat))
    return tally.problems()
