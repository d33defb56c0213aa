"""Boxes where no box file was downloaded: what a micro detector was recorded to have found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as rle

from bench.data import open_detections, open_instances
from bench.data.catalog import BOX_SETS
from protocols import table2
from protocols.prompts.box_files import MICRO_DETECTOR, MICRO_SEED, write_recorded_boxes
from protocols.saved_predictions import write_recording
from tests.protocols.fakes import disc, write_coco

FILES = [published.file for published in BOX_SETS.values()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_coco(tmp_path / "world", [[disc(8, 9, 5)], [disc(20, 16, 6)]])
    return tmp_path / "world"


COUNTS = rle.encode(np.eye(32, 40, dtype=np.uint8, order="F"))["counts"].decode()


def record(root: Path, folder: Path, score: float = 0.75, row: str = MICRO_DETECTOR) -> None:
    """Keep one detection, in the second image."""
    found = {"image_id": 2, "category_id": 1, "score": score, "x": 3.5, "y": 4.0, "width": 10.0, "height": 11.25}
    mask = {"image_height": 32, "image_width": 40, "counts": COUNTS, "skipped": ""}
    facts = {
        "model": "the-detector",
        "data": open_instances("coco", root).sha256,
        "image_ids": [1, 2],
        "date": "2020-01-02",
        "made_with": {},
    }
    records = pd.DataFrame([{**found, **mask}])
    write_recording(folder, records, table=table2.NAME, version=table2.VERSION, row=row, seed=MICRO_SEED, facts=facts)


def test_both_data_sets_get_the_file_that_table_5_looks_for(root: Path, tmp_path: Path) -> None:
    record(root, tmp_path / "records")
    assert write_recorded_boxes(root, tmp_path / "records") == "the-detector"
    for file in FILES:
        detections = open_detections(root / file)
        found = detections.for_image(2)
        assert found.boxes_xyxy.tolist() == [[3.5, 4.0, 13.5, 15.25]]
        assert (found.scores.tolist(), found.category_id.tolist()) == ([0.75], [1])
        assert detections.masks_for_image(2) == [((32, 40), COUNTS)]
        assert not len(detections.for_image(1).scores)


def test_files_of_an_older_training_are_replaced_and_others_left_alone(root: Path, tmp_path: Path) -> None:
    record(root, tmp_path / "records")
    write_recorded_boxes(root, tmp_path / "records")
    before = (root / FILES[0]).stat().st_mtime_ns
    write_recorded_boxes(root, tmp_path / "records")
    assert (root / FILES[0]).stat().st_mtime_ns == before
    record(root, tmp_path / "records", score=0.5)
    write_recorded_boxes(root, tmp_path / "records")
    assert open_detections(root / FILES[0]).for_image(2).scores.tolist() == [0.5]


def test_without_a_recording_of_this_detector_nothing_is_written(root: Path, tmp_path: Path) -> None:
    record(root, tmp_path / "records", row="MAE-Ti")
    assert write_recorded_boxes(root, tmp_path / "records") == ""
    assert not any((root / file).exists() for file in FILES)
