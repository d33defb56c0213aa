"""A detector's boxes and masks, one image at a time; `bench.data.detection_index` reads them from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bench.data.instances import Instances
from bench.data.problems import Problem, Tally
from models.errors import BenchError

ZERO_AREA = "box without area"
UNLISTED_IMAGE = "detection of an image that the annotation file does not list, which is not asked"
UNLISTED_CATEGORY = "detection of a category that the annotation file does not list, which no AP counts"

NO_MASKS = "the boxes come without masks"


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
        return cls(name, sha256, odd_boxes(boxes), images[order], columns, None, f"{name}: {NO_MASKS}")

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


def odd_boxes(boxes_xyxy: np.ndarray) -> tuple[Problem, ...]:
    """Return what is odd about boxes float64 [N, 4], px, though an evaluator takes them."""
    tally = Tally()
    flat = (boxes_xyxy[:, 2:] <= boxes_xyxy[:, :2]).any(axis=1)
    tally.add(ZERO_AREA, np.flatnonzero(flat))
    return tally.problems()
