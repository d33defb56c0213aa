"""A stand-in detector: ground truth jittered, some missed, some invented, drawn from a seed.

Used where no box file is at hand, and named so in the table: its AP says nothing about a detector,
only how well a model turns boxes of known quality into masks.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

from bench.data import Annotation, Detections, ImageInfo, Instances
from bench.draws import Draws

NAME = "jittered ground truth"
SEED = 5
MISSED = 0.1
"""Share of objects without a detection."""
FALSE_ALARMS = 0.3
"""Invented boxes an image, as a share of its objects."""
JITTER = 0.06
"""Largest shift of each side, as a share of the box's width or height."""


def jittered_detections(instances: Instances, images: list[ImageInfo], *, seed: int = SEED) -> Detections:
    """Return detections of a data set's images; the same for an image whatever the others are.

    Scores fall with the jitter, so that ranking means something; categories are the true ones.
    """
    rows = [row for info in images for row in _image(info, instances.annotations(info.id), instances, seed)]
    asked = [info.id for info in images]
    identity = json.dumps([NAME, seed, MISSED, FALSE_ALARMS, JITTER, instances.sha256, asked])
    return Detections.from_arrays(
        image_id=np.array([row[0] for row in rows], dtype=np.int64),
        category_id=np.array([row[1] for row in rows], dtype=np.int64),
        boxes_xyxy=np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 4),
        scores=np.array([row[3] for row in rows], dtype=np.float64),
        name=NAME,
        sha256=hashlib.sha256(identity.encode()).hexdigest(),
    )


def _image(
    info: ImageInfo, annotations: list[Annotation], instances: Instances, seed: int
) -> list[tuple[int, int, list[float], float]]:
    """Return (image, category, box xyxy, score) of each detection in one image."""
    draws = Draws(seed, info.id)
    rows = []
    objects = [annotation for annotation in annotations if not annotation.iscrowd]
    for annotation in objects:
        x0, y0, x1, y1 = annotation.box_xyxy
        shift = (draws.uniforms(4) * 2 - 1) * JITTER * np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
        found, noise = not draws.chance(MISSED), draws.uniform(0.0, 0.3)
        box = _clipped(np.array([x0, y0, x1, y1]) + shift, info)
        if found and box[2] - box[0] >= 1 and box[3] - box[1] >= 1:
            score = 0.95 - noise - 4 * float(np.abs(shift).max()) / max(x1 - x0, y1 - y0)
            rows.append((info.id, annotation.category_id, box.tolist(), max(0.05, score)))
    present = [annotation.category_id for annotation in objects] or sorted(instances.categories)[:1]
    for _ in range(int(FALSE_ALARMS * len(objects) + draws.uniform())):
        width, height = 16 + draws.uniforms(2) * np.array([info.width, info.height]) / 3
        x, y = draws.uniforms(2) * np.array([info.width, info.height])
        box = _clipped(np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]), info)
        rows.append((info.id, present[draws.integer(0, len(present))], box.tolist(), draws.uniform(0.05, 0.6)))
    return rows


def _clipped(box_xyxy: np.ndarray, info: ImageInfo) -> np.ndarray:
    return box_xyxy.clip(0, [info.width, info.height, info.width, info.height])
