"""The pictures of table `salient`: photo, map, points, and the mask that each model answered, a photo a row."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as rle

from bench.overlay import overlay
from protocols.data_set import spread
from protocols.measured import Measured
from protocols.pictures.grid import picture_grid
from protocols.salient_prompts import draw_points, network

PHOTOS = 6
"""Rows, evenly spread over the photos that were asked about, so that nobody chose them."""


def sheet(measured: Measured) -> bytes:
    """Return the sheet as PNG.

    Args:
        measured: of table `salient`; rows without records have no column.
    """
    source, seed = measured.data.source, measured.data.chosen.seed
    records = {row: of_seed[0].records for row, of_seed in measured.runs.items()}
    read = set.intersection(*(set(one["image_id"]) for one in records.values())) if records else set()
    asked = [image for image in measured.data.asked.ids if image in read]
    lines = []
    for image in (asked[place] for place in spread(len(asked), PHOTOS)):
        photo, truth = source.photos[image]
        saliency = network(source.maker).saliency(photo)
        clicks = [(float(x), float(y), 1) for x, y in draw_points(saliency, image, seed=seed, repeat=0)]
        masks = [_mask(one[one["image_id"] == image], truth.shape) for one in records.values()]
        pictures = [photo, np.repeat(saliency[..., None], 3, axis=2), overlay(photo, [(0, truth)], clicks=clicks)]
        lines.append([*pictures, *(overlay(photo, [(1, mask)]) for mask in masks)])
    return picture_grid(["photo", f"{source.maker.name} map", "truth and points", *records], lines)


def _mask(records: object, shape: tuple[int, ...]) -> np.ndarray:
    """Return the first answer about a photo, bool [H, W]."""
    counts = records["mask"].iloc[0]  # type: ignore[index]
    decoded: np.ndarray = rle.decode({"counts": counts, "size": list(shape)})
    return decoded.astype(bool)
