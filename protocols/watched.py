"""What of a table's records the regression gate compares one by one, and how records are kept compactly for it.

A table says it as its WATCHED: which columns tell one record from another, and which values count. Values are kept as
whole numbers of a small step, so that the records of all micro tables take a few hundred kB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from pycocotools import mask as rle

STEPS = 8
"""Steps of a kept number in the difference from which a record counts as moved."""
NOT_A_NUMBER = np.iinfo(np.int32).min
"""Stands for NaN."""
PARTS = 64
"""Parts of a pixel in which the centre of a mask is kept."""


class Value(Protocol):
    """One value of every record."""

    @property
    def name(self) -> str:
        """Return what reports call a difference of it."""

    @property
    def moved(self) -> float:
        """Return the difference above which a record counts as moved."""

    def kept(self, records: pd.DataFrame) -> Mapping[str, np.ndarray]:
        """Return what is kept of N records, int32 [N] by name of the column."""

    def difference(self, expected: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
        """Return the differences float64 [N] of what was kept of N records, twice."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number, kept in steps of an eighth of the difference that counts."""

    column: str
    moved: float
    name: str

    def kept(self, records: pd.DataFrame) -> dict[str, np.ndarray]:
        """See `Value`."""
        values = records[self.column].to_numpy(np.float64)
        known = np.isfinite(values)
        steps = np.round(np.where(known, values, 0) * STEPS / self.moved).astype(np.int32)
        return {self.column: np.where(known, steps, NOT_A_NUMBER)}

    def difference(self, expected: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
        """See `Value`; infinite between a number and none."""
        first, second = (kept[self.column].to_numpy(np.int64) for kept in (expected, found))
        lost = (first == NOT_A_NUMBER) != (second == NOT_A_NUMBER)
        return np.where(lost, np.inf, np.abs(first - second) * self.moved / STEPS)


@dataclass(frozen=True, slots=True)
class Label:
    """A whole number that means a class: it is the same or not."""

    column: str
    name: str
    moved: float = 0.5

    def kept(self, records: pd.DataFrame) -> dict[str, np.ndarray]:
        """See `Value`."""
        return {self.column: records[self.column].to_numpy(np.int32)}

    def difference(self, expected: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
        """See `Value`: 1 where classes differ."""
        return (expected[self.column].to_numpy() != found[self.column].to_numpy()).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Overlap:
    """The IoU of two areas, px, which are kept as they are."""

    intersection: str
    union: str
    moved: float
    name: str = "IoU"

    def kept(self, records: pd.DataFrame) -> dict[str, np.ndarray]:
        """See `Value`."""
        return {column: records[column].to_numpy(np.int32) for column in (self.intersection, self.union)}

    def difference(self, expected: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
        """See `Value`."""
        first, second = (
            kept[self.intersection].to_numpy(np.float64) / kept[self.union].to_numpy(np.float64).clip(1)
            for kept in (expected, found)
        )
        return np.abs(first - second)


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask in compressed run lengths, kept as its area and its centre.

    Two masks differ at least by the difference of their areas, and a shift of a compact mask of area A by d px changes
    about 2 d sqrt(A) of its pixels: the larger of both, over the area, is what the difference says. It is close to
    1 - IoU where masks differ little.
    """

    height: str
    width: str
    """Columns of the image's size."""
    moved: float
    name: str = "mask"
    counts: str = "counts"

    def kept(self, records: pd.DataFrame) -> dict[str, np.ndarray]:
        """See `Value`."""
        rows = zip(records[self.height], records[self.width], records[self.counts], strict=True)
        masks = [{"size": [int(height), int(width)], "counts": counts} for height, width, counts in rows]
        places = np.array([_place(mask) for mask in masks], dtype=np.int32).reshape(-1, 3)
        return dict(zip(("mask_area", "mask_x", "mask_y"), places.T, strict=True))

    def difference(self, expected: pd.DataFrame, found: pd.DataFrame) -> np.ndarray:
        """See `Value`."""
        first, second = (
            kept[["mask_area", "mask_x", "mask_y"]].to_numpy(np.float64).T for kept in (expected, found)
        )  # [3, N]
        area = np.maximum(first[0], second[0]).clip(1)
        shift = np.hypot(*(first[1:] - second[1:])) / PARTS
        return np.maximum(np.abs(first[0] - second[0]) / area, 2 * shift / np.sqrt(area))


def _place(mask: dict[str, object]) -> tuple[int, int, int]:
    """Return the area of a mask, px, and its centre (x, y), in parts of a pixel."""
    pixels = rle.decode(mask)  # uint8 [H, W]
    across, down = pixels.sum(0, dtype=np.int64), pixels.sum(1, dtype=np.int64)
    area = int(across.sum())
    if not area:
        return 0, 0, 0
    x, y = (float(counts @ np.arange(len(counts))) / area for counts in (across, down))
    return area, round(x * PARTS), round(y * PARTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What of a table's records is compared."""

    what: str
    """What one record is, in the plural: prompts, detections, images."""
    key: tuple[str, ...]
    """Columns that tell records of one model and data set apart; the first is image_id."""
    values: tuple[Value, ...]
    """The first is what reports tell the largest difference of."""
    column: str = ""
    """Column of the records that belongs to the key of a table's column, as `prompt` of Table 4 does: records of each
    are counted apart."""
    ranked_by: str = ""
    """Column by which records of the same key are numbered, the largest first, where a model makes its own."""
    best: int | None = None
    """How many records of an image are compared, the largest of `ranked_by` or `best_by`; None for all."""
    best_by: str = ""

    def kept(self, records: pd.DataFrame) -> pd.DataFrame:
        """Return what is kept of records: the key (with `rank`, where they are ranked) and the values."""
        order_by = self.ranked_by or self.best_by
        if order_by:
            records = records.sort_values(["image_id", order_by], ascending=[True, False], kind="stable")
        if self.best is not None:
            records = records[records.groupby("image_id").cumcount() < self.best]
        columns: dict[str, np.ndarray] = {name: records[name].to_numpy() for name in self.key}
        if self.ranked_by:
            columns["rank"] = records.groupby(list(self.key)).cumcount().to_numpy()
        for value in self.values:
            columns |= value.kept(records)
        return pd.DataFrame(columns)

    @property
    def keys(self) -> list[str]:
        """Return the columns of what is kept that tell records apart."""
        return [*self.key, *(["rank"] if self.ranked_by else [])]


def moved(watched: Watched, expected: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Compare what was kept of records, twice.

    Returns:
        One row for each record that is in either: the columns that tell records apart, `moved` (bool: a value differs
        by more than it may, or the record is in one of both alone), `lost` (in one alone) and `difference` (of the
        first value; NaN for lost ones).
    """
    keys = watched.keys
    both = expected[keys].merge(found[keys], on=keys, how="outer", indicator=True)
    shared = both.loc[both["_merge"] == "both", keys]
    pairs = [shared.merge(kept, on=keys, how="left", validate="1:1") for kept in (expected, found)]
    differences = [value.difference(*pairs) for value in watched.values]
    beyond = [difference > value.moved for value, difference in zip(watched.values, differences, strict=True)]
    compared = shared.assign(moved=np.any(beyond, axis=0), lost=False, difference=differences[0])
    lost = both.loc[both["_merge"] != "both", keys].assign(moved=True, lost=True, difference=np.nan)
    return pd.concat([compared, lost], ignore_index=True) if len(lost) else compared
