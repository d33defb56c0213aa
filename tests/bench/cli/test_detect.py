"""`bench detect`: what is written where, from which photos, and that nothing is asked twice."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench import __main__ as front_door
from bench.cli.detect import detect
from bench.data import open_detections, open_instances, read_rgb
from bench.data.dead_leaves.detection import detection_root
from bench.training.runs import RUNS
from models.engines.float32 import engine, threads
from models.errors import BenchError
from models.vitdet import cards as detectors
from models.vitdet import cascades as box_detectors
from protocols.prompts import box_files
from tests.bench.data.training.test_detection import lay_out
from tests.bench.metrics.ap_cases import lvis_truth
from tests.models.recipe import fill
from tests.protocols.test_table2 import Cheat, official

MICRO = "vitdet-sami-ti-micro"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.delenv("BENCH_RUNS", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "micro.safetensors"
    save_file(fill(RUNS[MICRO].build()).state_dict(), path)
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of photos that detectors of torchvision's were asked about, and of the one that they fail at."""
    counted = [0, 10**9]
    detect = detectors.detect

    def counting(network: Any, photos: Any, **named: Any) -> Any:
        counted[0] += len(photos)
        if counted[0] > counted[1]:
            raise KeyboardInterrupt
        return detect(network, photos, **named)

    monkeypatch.setattr(detectors, "detect", counting)
    return counted


@pytest.fixture
def cheat(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Cheat]:
    """Put a detector that knows the photos of a folder in the place of all."""

    def put(root: Path) -> Cheat:
        monkeypatch.setenv("BENCH_DATA", str(root))
        model = Cheat("vitdet-mae-b", open_instances("coco", root), 3)
        monkeypatch.setattr(box_detectors, "load", lambda *given, **named: model)
        return model

    return put


class TestMicro:
    def test_the_command_writes_what_the_detector_says_of_the_first_photos(
        self, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(box_files, "_AT_ONCE", 7)
        command = ["bench", "detect", MICRO, "--checkpoint", str(checkpoint), "--limit", "2"]
        monkeypatch.setattr(sys, "argv", command)
        front_door.main()
        path = Path("reports/out") / f"{MICRO}-coco-first-2.json"
        read, instances = open_detections(path), open_instances("coco", detection_root())
        ids = sorted(instances.categories)
        model = detectors.load(MICRO, checkpoint)
        for info in instances.images[:2]:
            with engine(exact=True), threads(1):  # as the command does; other products round otherwise on some CPUs
                (found,) = model.detect([read_rgb(info.path)])
            batch = read.for_image(info.id)
            assert len(batch.scores) > 7
            np.testing.assert_allclose(batch.boxes_xyxy, found.boxes_xyxy, atol=1e-9)
            assert batch.scores.tolist() == found.scores.tolist()
            assert batch.category_id.tolist() == [ids[label - 1] for label in found.labels]
        said = capsys.readouterr().out
        assert f"{MICRO} on coco: {len(read)} detections in 2 of 2 images" in said
        assert f"limited run: the first 2 of {len(instances.images)} images" in said
        assert re.search(r"box AP [\d.]+ \[", said)

    def test_a_run_that_was_stopped_goes_on_and_ends_in_the_same_file(
        self, checkpoint: Path, asked: list[int], folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, resumed = folder / "whole.json", folder / "resumed.json"
        monkeypatch.setenv("BENCH_RUNS", str(folder / "other"))
        detect(MICRO, checkpoint=checkpoint, limit=18, out=whole)
        assert asked[0] == 18
        monkeypatch.setenv("BENCH_RUNS", str(folder / "runs"))
        asked[:] = [0, 17]
        with pytest.raises(KeyboardInterrupt):
            detect(MICRO, checkpoint=checkpoint, limit=18, out=resumed)
        assert not resumed.exists()
        asked[:] = [0, 10**9]
        detect(MICRO, checkpoint=checkpoint, limit=18, out=resumed)
        assert asked[0] == 2  # sixteen were in the store
        assert resumed.read_bytes() == whole.read_bytes()
        detect(MICRO, checkpoint=checkpoint, limit=18, out=resumed)
        assert asked[0] == 2


class TestPublishedPhotos:
    def test_the_file_goes_where_table_5_looks_for_it_and_never_over_one_that_is_there(
        self, cheat: Callable[[Path], Cheat], folder: Path
    ) -> None:
        root = lay_out(folder / "data", split="val2017")
        model = cheat(root)
        detect("vitdet-mae-b")
        path = root / "coco" / "detections" / "coco_vitdet.json"
        entries = json.loads(path.read_text())
        assert len(open_detections(path)) == len(entries) > 0
        assert set(entries[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}
        before = path.read_bytes()
        with pytest.raises(BenchError, match=r"coco_vitdet\.json is there already: move it away, or give --out"):
            detect("vitdet-mae-b")
        detect("vitdet-mae-b", out=folder / "again.json")
        assert (folder / "again.json").read_bytes() == path.read_bytes() == before
        assert model.asked == 4

    def test_a_limited_run_goes_elsewhere(self, cheat: Callable[[Path], Cheat], folder: Path) -> None:
        root = lay_out(folder / "data", split="val2017")
        cheat(root)
        expected = root / "coco" / "detections" / "coco_vitdet.json"
        with pytest.raises(BenchError, match="is where Table 5 expects boxes in all photos: leave out --limit"):
            detect("vitdet-mae-b", limit=2, out=expected)
        detect("vitdet-mae-b", limit=2)
        assert Path("reports/out/vitdet-mae-b-coco-first-2.json").is_file()
        assert not expected.exists()

    def test_ap_on_coco_is_that_of_the_official_evaluator_on_the_file(
        self, cheat: Callable[[Path], Cheat], folder: Path, shared: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = shared / "samples"
        cheat(root)
        detect("vitdet-mae-b", out=folder / "boxes.json")
        said = dict(re.findall(r"(box|mask) AP ([\d.]+)", capsys.readouterr().out))
        ids = [info.id for info in open_instances("coco", root).images]
        results = json.loads((folder / "boxes.json").read_text())
        masks = [{key: value for key, value in entry.items() if key != "bbox"} for entry in results]
        assert said == {
            "box": f"{100 * official(root, results, 'bbox', ids):.1f}",
            "mask": f"{100 * official(root, masks, 'segm', ids):.1f}",
        }

    def test_ap_on_lvis_is_that_of_the_official_evaluator_on_the_file(
        self, cheat: Callable[[Path], Cheat], folder: Path, shared: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = shared / "samples"
        instances = open_instances("lvis", root)
        cheat(root).__init__("vitdet-mae-b", instances, 3)
        detect("vitdet-mae-b", data="lvis", out=folder / "boxes.json")
        said = dict(re.findall(r"(box|mask) AP ([\d.]+)", capsys.readouterr().out))
        results = json.loads((folder / "boxes.json").read_text())
        masks = [{key: value for key, value in entry.items() if key != "bbox"} for entry in results]
        truth = lvis_truth(instances.annotation_path, masks)
        assert said == {"mask": f"{100 * truth.stats['AP']:.1f}"}

    def test_a_detector_of_other_classes_is_refused(self, cheat: Callable[[Path], Cheat], folder: Path) -> None:
        model = cheat(lay_out(folder / "data", split="val2017"))
        model.classes = 80
        with pytest.raises(BenchError, match=r"knows 80 classes, .* has 2 categories"):
            detect("vitdet-mae-b")

    def test_a_photo_that_cannot_be_read_is_left_out_and_said(
        self, cheat: Callable[[Path], Cheat], folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        root = lay_out(folder / "data", split="val2017")
        cheat(root)
        (root / "coco" / "val2017" / "3.png").write_bytes(b"no photo")
        detect("vitdet-mae-b")
        printed = capsys.readouterr()
        assert "of 3 images" in printed.out
        assert "left out" in printed.err
        assert "3.png" in printed.err


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"detector": "vitdet-g"}, "unknown detector 'vitdet-g'"),
        ({"detector": "vitdet-h"}, "'vitdet-h' is asked about photos in BENCH_DATA"),
        ({"detector": MICRO, "limit": 0}, "--limit must be at least 1"),
        ({"detector": MICRO, "limit": 1, "checkpoint": Path("none.pt")}, "there is no checkpoint 'none.pt'"),
    ],
)
def test_mistakes_end_in_one_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BenchError, match=re.escape(sentence)):
        detect(given.pop("detector"), **given)


def test_a_cascade_on_torchvision_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(lay_out(folder / "data", split="val2017")))
    with pytest.raises(BenchError, match=r"cascade, .*--engine detectron2"):
        detect("vitdet-h", engine="torchvision")


def test_nothing_found_is_an_empty_file(cheat: Callable[[Path], Cheat], folder: Path) -> None:
    root = lay_out(folder / "data", split="val2017")
    model = cheat(root)
    nothing = {name: value[:0] for name, value in next(iter(model._known.values()))._asdict().items()}
    model._known = {photo: said._replace(**nothing) for photo, said in model._known.items()}
    detect("vitdet-mae-b")
    assert len(open_detections(root / "coco" / "detections" / "coco_vitdet.json")) == 0
