"""The pictures of table `everything`: each photo beside all masks that each model found in it, a photo a row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from pycocotools import mask as rle

from bench.data.images import read_rgb
from bench.overlay import overlay
from protocols.data_set import spread
from protocols.measured import Measured
from protocols.pictures.grid import picture_grid

PHOTOS = 4
"""Rows, evenly spread over the photos that were asked about, so that nobody chose them."""


def sheet(measured: Measured) -> bytes:
    """Return the sheet as PNG.

    Args:
        measured: of table `everything`; rows without records have no column.
    """
    records = {row: of_seed[0].records for row, of_seed in measured.runs.items()}
    read = set.intersection(*(set(one["image_id"]) for one in records.values())) if records else set()
    asked = [info for info in measured.data.asked.images if info.id in read]
    lines = []
    for info in (asked[place] for place in spread(len(asked), PHOTOS)):
        photo = read_rgb(info.path)
        found = (list(_masks(one[one["image_id"] == info.id])) for one in records.values())
        lines.append([photo, *(overlay(photo, masks) for masks in found)])
    return picture_grid(["photo", *records], lines)


def _masks(records: pd.DataFrame) -> Iterator[tuple[int, np.ndarray]]:
    """Yield rank and mask bool [H, W] of each record of a photo, so that small ones are drawn over large ones."""
    found = records[records["rank"] >= 0].sort_values("area", ascending=False, kind="stable")
    for row in found.to_dict("records"):
        mask = rle.decode({"counts": row["counts"], "size": [row["height"], row["width"]]})
        yield row["rank"], np.asarray(mask).astype(bool)
