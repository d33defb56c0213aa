"""The benchmark of full-size data, on a small part of it."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle

from bench.data import open_detections, open_instances

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCALE = 0.004


@pytest.fixture
def full_size(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import full_size

    return full_size


@pytest.fixture
def scoring(full_size: Any) -> Any:
    import scoring

    return scoring


@pytest.mark.parametrize("name", ["coco", "lvis"])
def test_drawn_files_are_sound_and_of_the_size_that_was_asked(name: str, full_size: Any, tmp_path: Path) -> None:
    world = full_size.draw(name, SCALE)
    files = full_size.write(world, tmp_path, name)
    instances, detections = open_instances(name, tmp_path), open_detections(files.results)
    size = full_size.FULL[name]
    assert len(instances.images) == files.images == round(size.images * SCALE)
    assert instances.n_annotations == round(size.annotations * SCALE)
    assert len(detections) == files.detections == round(size.detections * SCALE)
    assert set(instances.categories) == set(size.category_ids)
    assert instances.problems == detections.problems == detections.strangers(instances) == ()
    assert detections.misplaced_mask(instances.sizes) == ""
    crowds = [one.iscrowd for image in instances.images for one in instances.annotations(image.id)]
    assert sum(crowds) == round(size.crowds * SCALE) == (2 if name == "coco" else 0)
    assert Counter(size.frequencies) == ({"r": 337, "c": 461, "f": 405} if name == "lvis" else {})


@pytest.mark.parametrize("name", ["coco", "lvis"])
def test_drawn_masks_are_what_pycocotools_would_have_written_and_fill_their_boxes(
    name: str, full_size: Any, tmp_path: Path
) -> None:
    files = full_size.write(full_size.draw(name, 0.002), tmp_path, name)
    for one in json.loads(files.results.read_text())[:200]:
        mask = rle.decode(one["segmentation"])
        assert rle.encode(mask)["counts"].decode() == one["segmentation"]["counts"]
        assert rle.toBbox(one["segmentation"]).tolist() == one["bbox"]
    for one in json.loads(files.annotations.read_text())["annotations"]:
        if one.get("iscrowd"):
            height, width = one["segmentation"]["size"]
            assert rle.area(rle.frPyObjects(one["segmentation"], height, width)) == one["area"]


def test_a_part_of_a_data_set_is_its_first_images_unchanged(full_size: Any, tmp_path: Path) -> None:
    world = full_size.draw("coco", 0.002)
    whole, part = (full_size.write(world, tmp_path / str(n), "coco", n) for n in (10, 4))
    everything, fewer = (json.loads(files.results.read_text()) for files in (whole, part))
    assert 0 < len(fewer) < len(everything)
    assert everything[: len(fewer)] == fewer


def test_it_prints_nothing_where_the_official_numbers_differ(scoring: Any) -> None:
    right = np.full((2, 3), 0.5), np.full(2, 0.5)
    scoring._assert_equal("coco", right, right)
    with pytest.raises(SystemExit, match="coco: recall is not that of pycocotools to the bit"):
        scoring._assert_equal("coco", (right[0], np.nextafter(right[1], 1)), right)
    with pytest.raises(SystemExit, match="nothing was found"):
        scoring._assert_equal("coco", (0 * right[0], right[1]), (0 * right[0], right[1]))


def test_all_steps_are_measured_and_parts_extrapolated(
    scoring: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_CACHE", "")  # main sets it; this takes it back afterwards
    out = tmp_path / "figures.json"
    scoring.main(data=("lvis",), scale=0.0005, lvis_part=0.5, replicates=5, folder=tmp_path, out=out)
    figures = json.loads(out.read_text())
    steps = {one["step"]: one for one in figures["figures"]["lvis"]["steps"]}
    part, whole = (one for step, one in steps.items() if step.endswith("masks"))
    assert whole["official_part"] == part["official"]["wall"] / whole["official"]["wall"] == 0.5
    assert whole["ratio"] == whole["official"]["seconds"] / whole["seconds"]
    assert list(steps)[-1] == "AP, 5 replicates"
    assert all(one["seconds"] > 0 and (one["peak_gb"] > 0 or sys.platform != "linux") for one in steps.values())
    assert figures["made_with"]["versions"]["hotcoco"]
    printed = capsys.readouterr().out
    assert "lvis: precision and recall equal lvis's to the bit" in printed
    assert "from 0.5 of the images" in printed
    assert sorted(tmp_path.iterdir()) == [out]
