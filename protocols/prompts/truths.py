"""The objects of one image that can be asked for: their masks, what answers are compared with, and their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.data import Annotation, ImageInfo, tight_box_xyxy
from bench.data.masks import stacked
from bench.metrics.iou import mask_iou
from models.segmenter import Prompts
from protocols.axes import Axes
from protocols.prompts.frame import Frame


class Truths(NamedTuple):
    """Some objects of an image."""

    annotations: list[Annotation]
    masks: np.ndarray
    """bool [P, H, W]."""
    rasters: np.ndarray
    """bool [P, H, W], what answers are compared with: the masks, or as `Axes.truth_raster` has them."""


def truths_of(info: ImageInfo, annotations: Sequence[Annotation], axes: Axes) -> Truths:
    """Return the objects that can be asked for; masks without a pixel only where the axes ask for them.

    Random clicks have no pixel to fall on there.
    """
    with_empty = axes.empty != "skip" and axes.clicks != "random"
    masks = [annotation.mask(info.height, info.width) for annotation in annotations]
    kept = [row for row, mask in enumerate(masks) if with_empty or mask.any()]
    shape = (0, info.height, info.width)
    asked = stacked([masks[row] for row in kept]) if kept else np.zeros(shape, bool)
    rasters = asked
    if axes.truth_raster == "frame" and kept:
        frame = Frame.of((info.height, info.width))
        rasters = stacked([frame.leave(frame.enter(mask)) for mask in asked])
    return Truths([annotations[row] for row in kept], asked, rasters)


def boxes_of(truths: Truths, axes: Axes) -> Prompts:
    """Return box prompts; clipped to the image, if the axes say so, so that every model sees the same one."""
    height, width = truths.masks.shape[1:]
    boxes = np.array([_box(*one, axes) for one in zip(truths.annotations, truths.masks, strict=True)])
    return Prompts.from_boxes(boxes.clip(0, [width, height, width, height]) if axes.clip_boxes else boxes)


def _box(annotation: Annotation, mask: np.ndarray, axes: Axes) -> np.ndarray:
    """Return the box of an object (xyxy, px); a mask without a pixel has the annotation's alone."""
    if axes.box_source == "annotation" or not mask.any():
        return np.array(annotation.written_box_xyxy)
    last_pixel = [0, 0, 1, 1] if axes.box_source == "tight_last_pixel" else [0, 0, 0, 0]
    return tight_box_xyxy(mask) - last_pixel


def ious(masks: np.ndarray, truths: Truths, axes: Axes) -> np.ndarray:
    """Return the IoU float64 [P] of answers bool [P, H, W]; NaN where 0 / 0 is to be left out of the mean."""
    values = mask_iou(masks, truths.rasters)
    if axes.empty == "undefined":
        values[~masks.any(axis=(1, 2)) & ~truths.rasters.any(axis=(1, 2))] = np.nan
    return values
