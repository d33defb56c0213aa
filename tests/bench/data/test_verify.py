import dataclasses
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data.catalog import BOX_SETS, INSTANCE_SETS
from bench.data.detection_index import open_detections
from bench.data.detections import Detections
from bench.data.images import read_rgb
from bench.data.instances import open_instances
from bench.data.verify import VerifyReport, is_published_boxes, is_published_set, verify
from models.errors import BenchError
from tests.other_user import without_rights


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A sound COCO set of three images, two annotations and one category, beside which boxes lie."""
    root = tmp_path / "data"
    for folder in ("annotations", "val2017", "detections"):
        (root / "coco" / folder).mkdir(parents=True)
    images = [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in (1, 2, 3)]
    common = {"category_id": 1, "area": 9, "bbox": [1, 1, 3, 3], "segmentation": [[1, 1, 4, 1, 4, 4, 1, 4]]}
    content = {
        "images": images,
        "annotations": [{"id": i, "image_id": i, **common} for i in (1, 2)],
        "categories": [{"id": 1, "name": "leaf"}],
    }
    (root / "coco" / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    boxes = [{"image_id": i, "category_id": 1, "bbox": [1, 1, 3, 3], "score": 0.5} for i in (1, 3, 77)]
    (root / "coco" / "detections" / "coco_vitdet.json").write_text(json.dumps(boxes))
    for image in images:
        Image.new("RGB", (30, 20)).save(root / "coco" / "val2017" / str(image["file_name"]))
    return root


def publish(monkeypatch: pytest.MonkeyPatch, name: str = "coco", **counts: Any) -> None:
    """Make a set of another size the published one."""
    table = INSTANCE_SETS if name in INSTANCE_SETS else BOX_SETS
    monkeypatch.setitem(table, name, dataclasses.replace(table[name], **counts))


def text(report: VerifyReport) -> str:
    return "\n".join(report.lines)


def test_the_samples_are_a_sound_subset(shared: Path) -> None:
    for name, annotations in (("coco", "470 of 36,781"), ("lvis", "465 of 244,707")):
        report = verify(name, shared / "samples")
        assert (report.name, report.ok, report.complete) == (name, True, False)
        assert "a subset: 50 of " in text(report)
        assert f"{annotations} annotations" in text(report)
        assert "50 of 50 listed images are on disk" in text(report)
        assert "no published hash" in text(report)
    assert not is_published_set(open_instances("coco", shared / "samples"))


def test_the_sampled_boxes_are_not_taken_for_the_published_ones(shared: Path) -> None:
    report = verify("coco-boxes", shared / "samples")
    assert (report.ok, report.complete) == (True, False)
    assert "not the published file, whose sha256 is ba17f9fb2883" in text(report)
    assert "of 50 images of coco have boxes, 0 images with boxes are not on disk" in text(report)
    assert not is_published_boxes(open_detections(shared / "samples" / "coco" / "detections" / "coco_vitdet.json"))


@pytest.mark.parametrize(
    "name,images", [("ade20k", "12 of 2,000"), ("imagenet", "40 of 50,000"), ("sa1b", "20 of 11,")]
)
def test_the_other_samples_are_sound_subsets(name: str, images: str, shared: Path) -> None:
    report = verify(name, shared / "samples")
    assert (report.ok, report.complete) == (True, False)
    assert f"a subset: {images}" in text(report)


def test_a_set_with_the_published_counts_is_the_published_set(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, n_images=3, n_annotations=2, n_categories=1)
    report = verify("coco", coco)
    assert (report.ok, report.complete) == (True, True)
    assert "the complete published set: 3 of 3 images, 2 of 2 annotations, 1 of 1 categories" in text(report)
    assert is_published_set(open_instances("coco", coco))


@pytest.mark.parametrize("count", ["n_images", "n_annotations", "n_categories"])
def test_a_set_that_lacks_anything_is_a_subset(count: str, coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, **{"n_images": 3, "n_annotations": 2, "n_categories": 1, count: 4})
    assert not is_published_set(open_instances("coco", coco))
    assert "a subset: " in text(verify("coco", coco))


def test_a_set_with_more_than_was_published_is_another_set(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, n_images=2, n_annotations=2, n_categories=1)
    assert "not the published set: 3 of 2 images" in text(verify("coco", coco))


def test_images_that_are_not_on_disk_make_a_set_incomplete(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, n_images=3, n_annotations=2, n_categories=1)
    (coco / "coco" / "val2017" / "2.png").unlink()
    report = verify("coco", coco)
    assert (report.ok, report.complete) == (False, False)
    assert "2 of 3 listed images are on disk" in text(report)
    archive = "http://images.cocodataset.org/zips/val2017.zip"
    assert f"1 images are missing: download {archive} and unpack it into {coco / 'coco'}" in text(report)
    assert not is_published_set(open_instances("coco", coco))


def test_images_that_cannot_be_used_are_named(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(monkeypatch, n_images=3, n_annotations=2, n_categories=1)
    Image.new("RGB", (20, 30)).save(coco / "coco" / "val2017" / "1.png")
    (coco / "coco" / "val2017" / "3.png").write_bytes(b"")
    report = verify("coco", coco)
    assert (report.ok, report.complete) == (False, False)
    assert "2 images cannot be used: " in text(report)
    assert "1.png is 30 x 20, not 20 x 30 as annotated" in text(report)
    assert "3.png is broken or cut short" in text(report)


def test_problems_of_the_annotations_are_notes(coco: Path) -> None:
    path = coco / "coco" / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace('"image_id": 2', '"image_id": 99'))
    report = verify("coco", coco)
    assert report.ok
    assert "note: 1 x annotation of an image that is not listed (ids 2)" in text(report)


@pytest.mark.parametrize(
    "name,url,folder",
    [
        ("coco", "http://images.cocodataset.org/annotations/annotations_trainval2017.zip", "coco"),
        ("coco", "http://images.cocodataset.org/zips/val2017.zip", "coco"),
        ("lvis", "https://dl.fbaipublicfiles.com/LVIS/lvis_v1_val.json.zip", "lvis/annotations"),
        ("lvis", "http://images.cocodataset.org/zips/train2017.zip", "coco"),
        (
            "coco-boxes",
            "/mit-han-lab/efficientvit-sam/resolve/main/source_json_file/coco_vitdet.json",
            "coco/detections",
        ),
        (
            "lvis-boxes",
            "/mit-han-lab/efficientvit-sam/resolve/main/source_json_file/lvis_vitdet.json",
            "lvis/detections",
        ),
        ("ade20k", "ADEChallengeData2016.zip", "ade20k"),
        ("imagenet", "https://image-net.org/download.php", "imagenet"),
        ("sa1b", "https://ai.meta.com/datasets/segment-anything-downloads/", "sa1b"),
    ],
)
def test_of_what_is_missing_the_report_says_what_to_download_from_where(
    name: str, url: str, folder: str, tmp_path: Path
) -> None:
    report = verify(name, tmp_path)
    assert (report.ok, report.complete) == (False, False)
    (line,) = report.lines
    assert url in line
    assert str(tmp_path / folder) in line
    assert line.endswith("or use --scale micro")


def test_damaged_annotations_and_boxes_are_reported_not_raised(coco: Path) -> None:
    for name, path in (
        ("coco", coco / "coco" / "annotations" / "instances_val2017.json"),
        ("coco-boxes", coco / "coco" / "detections" / "coco_vitdet.json"),
    ):
        path.write_bytes(path.read_bytes()[:40])
        report = verify(name, coco)
        assert not report.ok
        assert "ends in the middle of a value" in text(report)


def test_boxes_are_compared_with_their_images_and_with_the_published_hash(
    coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = verify("coco-boxes", coco)
    assert "2 of 3 images of coco have boxes, 1 images with boxes are not on disk or not listed" in text(report)
    detections = open_detections(coco / "coco" / "detections" / "coco_vitdet.json")
    publish(monkeypatch, "coco-boxes", sha256=detections.sha256)
    report = verify("coco-boxes", coco)
    assert report.complete
    assert "the published file" in text(report)
    assert is_published_boxes(detections)


def test_boxes_drawn_in_memory_are_never_the_published_ones() -> None:
    boxes = np.zeros((0, 4))
    assert not is_published_boxes(Detections.from_arrays([], [], boxes, [], name="drawn", sha256=""))


def test_an_image_without_its_partner_is_no_sound_set(tmp_path: Path) -> None:
    (tmp_path / "sa1b").mkdir()
    for name in ("sa_1.jpg", "sa_1.json", "sa_2.jpg"):
        (tmp_path / "sa1b" / name).touch()
    report = verify("sa1b", tmp_path)
    assert not report.ok
    assert "1 images have no annotation beside them" in text(report)
    assert "sa_2.json" in text(report)


def test_an_unknown_name_is_an_error_with_the_nearest_known(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="unknown data set 'coco-boxs': did you mean 'coco-boxes'"):
        verify("coco-boxs", tmp_path)


@pytest.mark.parametrize(
    "place", ["coco/val2017", "coco/annotations", "coco/annotations/instances_val2017.json", "coco"]
)
@pytest.mark.parametrize("name", ["coco", "coco-boxes", "sa1b", "ade20k", "imagenet"])
def test_what_may_not_be_read_is_in_the_report_with_its_name(
    coco: Path, place: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("BENCH_CACHE", f"{folder}/cache")
        Path(folder).chmod(0o777)
        root = Path(shutil.copytree(coco, f"{folder}/data"))
        with without_rights(root / place):
            report = verify(name, root)
    if name == "coco":
        assert not report.ok
        assert f"{root / place}" in text(report)
        assert "Permission denied" in text(report)


@pytest.mark.parametrize("entry", ["val2017/1.png"])
def test_a_photo_that_may_not_be_read_is_not_called_broken(
    coco: Path, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("BENCH_CACHE", f"{folder}/cache")
        Path(folder).chmod(0o777)
        root = Path(shutil.copytree(coco, f"{folder}/data"))
        with without_rights(root / "coco" / entry):
            report = verify("coco", root)
            with pytest.raises(BenchError, match=r"1\.png' cannot be used \(Permission denied\)"):
                read_rgb(root / "coco" / entry)
    assert not report.ok
    assert "1.png' cannot be used (Permission denied)" in text(report)


def test_a_data_folder_that_is_a_file_is_missing_data(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("coco", "lvis", "coco-boxes", "ade20k", "imagenet", "sa1b"):
        report = verify(name, tmp_path / "file")
        assert not report.ok
        assert len(report.lines) == 1
