"""The images of one data set that a table asks about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.data import Detections
from protocols.axes import Axes
from protocols.shards import ImageSet


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set, opened, and the images that are asked."""

    name: str
    """coco, imagenet, ...; of data of the user's own, whose format they have."""
    source: Any
    """What its reader in bench.data returned."""
    sha256: str
    """Of the whole data set."""
    truth: Mapping[str, Any]
    """What of the data set could change a record, besides the images."""
    asked: ImageSet[Any]
    """The images that are asked about."""
    of_images: int
    """Images of the whole set."""
    published: str = ""
    """Words for all the published images, empty if these are not they."""
    axes: Axes | None = None
    """The choices of the protocol; None for tables whose evaluators leave none."""
    boxes: Detections | None = None
    """What a detector found, for tables that start from it."""
    title: str = ""
    """What reports call data of the user's own; empty for published sets and dead leaves."""
    words: str = ""
    """What a reader must know of these data."""

    @property
    def chosen(self) -> Axes:
        """Return the choices of the protocol, for tables that have some."""
        assert self.axes is not None
        return self.axes

    @property
    def label(self) -> str:
        """Return what reports call it."""
        return self.title or self.name.upper()

    @property
    def whole(self) -> bool:
        """Whether all images are asked about."""
        return len(self.asked.images) == self.of_images

    @property
    def extent(self) -> str:
        """Say how many images are asked about, and of how many."""
        count = f"{len(self.asked.images):,}" + ("" if self.whole else f" of {self.of_images:,}")
        return f"{count} images" + (f", {self.published}" if self.published else "")


def spread(count: int, limit: int | None) -> list[int]:
    """Return the images that are asked: all, or so many at even distances, for sets that are sorted by class.

    >>> spread(10, 4), spread(3, None)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    if limit is None or limit >= count:
        return list(range(count))
    return [k * count // limit for k in range(limit)]
