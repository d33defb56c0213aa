"""Boxes where no box file is at hand: a micro detector's recorded answers, or jittered ground truth.

The first belong to the dead leaves. The second (some objects missed, some invented, drawn from a seed) serve data of a
user's own and are named so in the table: their AP says nothing about a detector, only how well a model turns boxes of
known quality into masks.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from bench.data import Annotation, Detections, ImageInfo, Instances, open_instances
from bench.data.published import BOX_SETS
from bench.draws import Draws
from bench.store.disk import write_whole
from protocols import table2
from protocols.recorded import read_recordings
from protocols.training_records import RECORDS

MICRO_DETECTOR = "SAMI-S"
"""Row of Table 2: the micro ViTDet of the largest encoder."""

NAME = "jittered ground truth"
SEED = 5
MISSED = 0.1
"""Share of objects without a detection."""
FALSE_ALARMS = 0.3
"""Invented boxes an image, as a share of its objects."""
JITTER = 0.06
"""Largest shift of each side, as a share of the box's width or height."""


def write_recorded_boxes(root: Path, folder: Path = RECORDS) -> str:
    """Put what the micro detector found where Table 5 looks for a detector's boxes, with its masks.

    COCO and LVIS have the same images and categories there, so one answer is both files.

    Args:
        root: of the scenes it was asked about.
        folder: of the recordings.

    Returns:
        Whose boxes they are; empty if there is no recording about these scenes.

    Raises:
        BenchError: if the recording is damaged or the files cannot be written.
    """
    instances = open_instances("coco", root)
    recordings = read_recordings(
        table2.NAME,
        table2.VERSION,
        data_sha256=instances.sha256,
        image_ids=[info.id for info in instances.images],
        folder=folder,
    )
    found = recordings.get(MICRO_DETECTOR, {}).get(0)
    if found is None:
        return ""
    boxes, masks = table2.to_results(found.run.records)
    content = json.dumps([{**box, **mask} for box, mask in zip(boxes, masks, strict=True)]).encode()
    for published in BOX_SETS.values():
        path = root / published.file
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
    return str(found.facts["model"])


def jittered_detections(instances: Instances, images: list[ImageInfo], *, seed: int = SEED) -> Detections:
    """Return detections of a data set's images; the same for an image whatever the others are.

    Scores fall with the jitter, so that ranking means something; categories are the true ones.
    """
    rows = [row for info in images for row in _image(info, instances.annotations(info.id), instances, seed)]
    identity = json.dumps([NAME, seed, MISSED, FALSE_ALARMS, JITTER, instances.sha256, len(images)])
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
