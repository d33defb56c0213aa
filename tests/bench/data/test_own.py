"""Data of one's own: where they are is said in one word, and what is wrong with them in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.cli import data as command
from bench.data.own import OwnData, open_own, own_data
from bench.data.verify import verify
from models.errors import BenchError

Write = Callable[..., OwnData]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write annotations of two photos, one in a folder of its own, and return where they are."""

    def make(form: str = "coco", name: str = "street.json", folder: str = "photos", **changes: Any) -> OwnData:
        size = {"height": 20, "width": 30}
        images: list[dict[str, Any]] = [
            {"id": 1, "file_name": "1.png", **size},
            {"id": 2, "file_name": "b/2.png", **size},
        ]
        shape = {"area": 9, "bbox": [1, 1, 3, 3], "segmentation": [[1, 1, 4, 1, 4, 4, 1, 4]]}
        content: dict[str, Any] = {
            "images": images,
            "annotations": [{"id": n, "image_id": n, "category_id": 1, **shape} for n in (1, 2)],
            "categories": [{"id": 1, "name": "leaf", "frequency": "r"}],
        }
        if form == "lvis":
            for image in images:
                image.update(neg_category_ids=[], not_exhaustive_category_ids=[])
        (tmp_path / folder / "b").mkdir(parents=True, exist_ok=True)
        for image in images:
            Image.new("RGB", (30, 20)).save(tmp_path / folder / image["file_name"])
        (tmp_path / name).write_text(json.dumps({**content, **changes}))
        return OwnData(form, tmp_path / name, tmp_path / folder)  # type: ignore[arg-type]

    return make


def spec(own: OwnData) -> str:
    return f"{own.form}:{own.annotations},{own.images}/"


@pytest.mark.parametrize("form", ["coco", "lvis"])
def test_annotations_and_photos_may_be_anywhere(form: str, write: Write) -> None:
    own = write(form)
    instances = open_own(own_data(spec(own)))
    assert instances.name == "street"
    assert [image.path for image in instances.images] == [own.images / "1.png", own.images / "b" / "2.png"]
    assert [len(instances.annotations(image.id)) for image in instances.images] == [1, 1]


def test_lvis_entries_without_a_file_name_are_found_by_the_end_of_their_address(write: Write) -> None:
    own = write("lvis")
    content = json.loads(own.annotations.read_text())
    for image in content["images"]:
        image["coco_url"] = f"http://images.cocodataset.org/b/{image.pop('file_name').removeprefix('b/')}"
    Image.new("RGB", (30, 20)).save(own.images / "b" / "1.png")
    own.annotations.write_text(json.dumps(content))
    assert [image.path for image in open_own(own).images] == [own.images / "b" / "1.png", own.images / "b" / "2.png"]


def test_one_file_of_two_formats_or_with_photos_elsewhere_is_not_mixed_up(write: Write) -> None:
    own = write("lvis")
    elsewhere = write("lvis", folder="elsewhere")
    for one in (own, elsewhere, own):
        assert open_own(one).images[0].path.parent == one.images
    assert open_own(OwnData("coco", own.annotations, own.images)).sha256 == open_own(own).sha256


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("street, at night.json", "my photos"),
        ("a.json", "photos, all of them.json"),
        ("a,b: c.JSON", "d,e"),
        ("a.json.json", "photos"),
    ],
)
def test_paths_may_have_blanks_colons_and_commas(write: Write, name: str, folder: str) -> None:
    own = write(name=name, folder=folder)
    read = own_data(spec(own))
    assert (read.annotations, read.images) == (own.annotations, own.images)
    assert read.name == name[: -len(".json")]


def test_a_relative_path_and_a_home_are_read_as_elsewhere(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write()
    monkeypatch.chdir(own.images)
    monkeypatch.setenv("HOME", str(own.images.parent))
    assert own_data("coco:../street.json,.").images == own.images
    assert own_data("coco:~/street.json,~/photos") == own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("street.json", "data of your own are given as coco:ANNOTATIONS.json,IMAGES/ or lvis:"),
        ("yolo:street.json,photos", r"unknown format of annotations 'yolo': .*Known: coco, lvis"),
        ("COCO:street.json,photos", "unknown format of annotations 'COCO'"),
        ("coco:street.json", r"'coco:street\.json' does not name a file that ends in \.json and, behind a comma, a"),
        ("coco:street.json,", "does not name a file that ends in"),
        ("coco:street.txt,photos", "does not name a file that ends in"),
        ("coco:,photos", "does not name a file that ends in"),
        ("coco:nowhere.json,photos", r"there is no annotation file 'nowhere\.json': check the path"),
        ("coco:street.json,nowhere", "there is no folder of images 'nowhere': check the path"),
        ("coco:street.json,street.json", r"there is no folder of images 'street\.json'"),
        ("coco:~nobody-here/a.json,photos", "a path is '~nobody-here/a.json', but this machine knows no such home"),
    ],
)
def test_what_names_no_data_is_one_sentence(
    text: str, said: str, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write().annotations.parent)
    with pytest.raises(BenchError, match=said):
        own_data(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": {}}, "mend it, it must be an annotation file in COCO's format"),
        ({"categories": []}, "lists no categories"),
        ({"annotations": [{"id": 1, "image_id": 1}]}, r"annotation 0 \(counting from 0\) has no '.*': mend it"),
        ({"images": [{"id": 1, "height": 2, "width": 2}]}, "has no 'file_name': mend it"),
        ({"images": [{"id": 1, "file_name": "../1.png", "height": 2, "width": 2}]}, "which no file under the folder"),
        ({"images": [{"id": 1, "file_name": 7, "height": 2, "width": 2}]}, "is no text"),
    ],
)
def test_a_file_that_is_not_coco_is_one_sentence(write: Write, changes: dict[str, Any], said: str) -> None:
    own = write(**changes)
    with pytest.raises(BenchError, match=said):
        open_own(own)
    report = verify(spec(own), "/nowhere")
    assert (report.ok, len(report.lines)) == (False, 1)


@pytest.mark.parametrize("content", [b"", b"[]", b"<html>", b"{", b"\x89PNG\r\n"])
def test_a_file_that_is_not_even_json_is_one_sentence(write: Write, content: bytes) -> None:
    own = write()
    own.annotations.write_bytes(content)
    with pytest.raises(BenchError, match=r"street\.json.*mend it, it must be an annotation file in COCO's format$"):
        open_own(own)


def test_an_annotation_id_that_comes_twice_is_refused(write: Write) -> None:
    own = write()
    content = json.loads(own.annotations.read_text())
    content["annotations"] += content["annotations"][:1]
    own.annotations.write_text(json.dumps(content))
    with pytest.raises(BenchError, match="has the annotation id 1 more than once: mend it"):
        open_own(own)


def test_lvis_needs_what_its_metric_needs(write: Write) -> None:
    own = write("coco")
    with pytest.raises(BenchError, match=r"has no 'neg_category_ids': mend it, .* in LVIS's format"):
        open_own(OwnData("lvis", own.annotations, own.images))


def test_photos_that_are_missing_are_counted_and_without_any_the_folder_is_wrong(write: Write) -> None:
    own = write()
    (own.images / "1.png").unlink()
    report = verify(spec(own), "/nowhere")
    assert (report.ok, report.complete) == (False, False)
    assert f"1 of 2 listed images are in {own.images}" in report.lines
    assert any("1 x image file that is not on disk" in line and "put them there" in line for line in report.lines)
    (own.images / "b" / "2.png").unlink()
    with pytest.raises(
        BenchError, match=rf"none of the images .* is in {own.images}, the first would be .*/1\.png: name"
    ):
        open_own(own)


def test_photos_of_another_size_are_named(write: Write) -> None:
    own = write()
    Image.new("RGB", (20, 30)).save(own.images / "1.png")
    report = verify(spec(own), "/nowhere")
    assert not report.ok
    assert "1.png is 30 x 20, not 20 x 30 as annotated" in "\n".join(report.lines)


def test_sound_data_are_usable_and_never_complete(
    write: Write, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    own = write(name="instances_val2017.json")
    command.verify((spec(own),))
    said = capsys.readouterr().out
    assert said.startswith("instances_val2017: usable\n")
    assert "data of your own, of which no paper has numbers" in said
    assert "2 images, 2 annotations, 1 categories" in said
