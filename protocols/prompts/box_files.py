"""Boxes and masks that a detector finds in a data set, as the COCO results file that Table 5 asks its models about.

Photos are asked as in Table 2, in the same records, so that a run that was killed goes on and nothing is asked twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from bench.data import Instances, open_instances
from bench.data.catalog import BOX_SETS
from bench.metrics.ap import lvis_ap
from bench.metrics.interval import Interval
from bench.store.disk import write_whole
from protocols import table2
from protocols.saved_predictions import read_recordings
from protocols.scores import CellRun
from protocols.training_records import RECORDS

MICRO_DETECTOR, MICRO_SEED = "SAMI-Ti", 1
"""Row of Table 2 and seed of its training: the micro ViTDet whose recorded boxes Table 5 takes at micro scale."""
_AT_ONCE = 10_000
"""Detections of one piece of the file."""


def write_results(run: CellRun, path: Path) -> None:
    """Write detections, boxes and masks, as a COCO results file, whole or not at all.

    Raises:
        BenchError: if the disk is full or refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, pieces(run.records))


def pieces(records: pd.DataFrame) -> Iterator[bytes]:
    """Yield a JSON list; LVIS has millions of entries, more than fit into memory at once as objects."""
    opening = b"["
    for start in range(0, len(records), _AT_ONCE):
        boxes, masks = table2.to_results(records.iloc[start : start + _AT_ONCE])
        entries = ({**box, **mask} for box, mask in zip(boxes, masks, strict=True))
        yield opening + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries).encode()
        opening = b",\n"
    yield b"]" if len(records) else b"[]"


def score(run: CellRun, instances: Instances) -> Mapping[str, Interval]:
    """Return AP in 0..1 with its intervals over the photos that were asked: of boxes and masks, of masks for LVIS."""
    if instances.name != "lvis":
        return table2.score(run, table2.data_set(instances, None)).intervals
    _, masks = table2.to_results(run.records)
    found = lvis_ap(instances.annotation_path, masks, replicates=table2.REPLICATES, image_ids=run.image_ids)
    return {"ap_mask": found.intervals["AP"]}


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
    found = recordings.get(MICRO_DETECTOR, {}).get(MICRO_SEED)
    if found is None:
        return ""
    content = b"".join(pieces(found.run.records))
    for published in BOX_SETS.values():
        path = root / published.file
        if not path.is_file() or path.read_bytes() != content:
            write_results(found.run, path)
    return str(found.facts["model"])
