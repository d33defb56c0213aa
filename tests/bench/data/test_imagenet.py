"""Labelled photos in folders: labels are those of the thousand classes, whatever part of them is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.data import ImageNetInfo

from bench.data.imagenet import NUMBERS, OFFICIAL, SORTED, open_imagenet
from bench.data.verify import verify
from models.errors import BenchError, MissingData

REAL = {"n01440764": 0, "n02123045": 281, "n15075141": 999}
"""Tench, tabby cat, toilet paper: the first class, a well-known one, the last."""


def write(root: Path, *names: str, split: str = "val") -> Path:
    """Write one photo a name under root/imagenet/<split>, each of its own colour."""
    for number, name in enumerate(names):
        path = root / "imagenet" / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (number, 0, 0)).save(path, "PNG")
    return root


def test_some_classes_of_the_thousand_have_their_own_labels(tmp_path: Path) -> None:
    photos = open_imagenet(write(tmp_path, *(f"{wnid}/x.JPEG" for wnid in reversed(REAL))))
    assert photos.wnids == tuple(REAL)
    assert photos.labels.tolist() == list(REAL.values())
    assert photos.labels.dtype == np.int64


def test_all_thousand_are_numbered_as_sorted(tmp_path: Path) -> None:
    wnids = ImageNetInfo("imagenet-1k").label_names()
    for wnid in wnids:
        (tmp_path / "imagenet" / "val" / wnid).mkdir(parents=True)
    write(tmp_path, f"{wnids[7]}/x.JPEG")
    photos = open_imagenet(tmp_path)
    assert photos.wnids == tuple(sorted(wnids))
    assert photos.labels.tolist() == [7]


def test_other_names_are_numbered_as_sorted_and_empty_folders_count(tmp_path: Path) -> None:
    write(tmp_path, "l2_star/0.png", "l0_disc/1.png")
    (tmp_path / "imagenet/val/l1_cross").mkdir()
    photos = open_imagenet(tmp_path)
    assert photos.labels.tolist() == [0, 2]
    assert photos.wnids == ("l0_disc", "l1_cross", "l2_star")


@pytest.mark.parametrize("width", [1, 3, 4], ids=["bare", "padded", "padded more"])
def test_the_label_of_a_numbered_folder_is_its_number_whatever_its_zeros(tmp_path: Path, width: int) -> None:
    numbers = [999, 100, 10, 9, 2, 0]
    photos = open_imagenet(write(tmp_path, *(f"{number:0{width}d}/x.JPEG" for number in numbers)))
    assert photos.labels.tolist() == sorted(numbers)
    assert [int(path.parent.name) for path in photos.paths] == sorted(numbers)
    assert photos.labelling == NUMBERS


def test_zeros_may_be_written_before_some_numbers_only(tmp_path: Path) -> None:
    photos = open_imagenet(write(tmp_path, "10/x.png", "007/x.png", "8/x.png"))
    assert photos.labels.tolist() == [7, 8, 10]


@pytest.mark.parametrize(
    "names,complaint",
    [
        (["1", "01"], "has two folders of class 1, '01' and '1': merge them"),
        (["0", "1000"], "1000 is no number of a class, 0 to 999"),
        (["1", "2", "thumbnails"], "thumbnails is no number of a class"),
        (["1", "-2"], "-2 is no number of a class"),
        (["1", "n01440764"], "val/1 is no class of ImageNet-1K: move"),
        (["0_tench", "10_cock", "2_shark"], "'10_cock' and '2_shark', sorted as text in another order than by number"),
        (["class1", "class10", "class2"], "name each by its WordNet id, or by its number alone"),
    ],
)
def test_folders_whose_numbers_are_no_labels_are_refused(tmp_path: Path, names: list[str], complaint: str) -> None:
    write(tmp_path, *(f"{name}/x.JPEG" for name in names))
    with pytest.raises(BenchError, match=complaint):
        open_imagenet(tmp_path)
    report = verify("imagenet", tmp_path)
    assert not report.ok
    assert complaint in report.lines[0]


def test_names_that_end_alike_are_no_numbers_out_of_order(tmp_path: Path) -> None:
    assert open_imagenet(write(tmp_path, "a-1/x.png", "a1/x.png", "b/x.png")).labelling == SORTED


def test_photos_are_sorted_by_class_and_name_and_nothing_else_is_one(tmp_path: Path) -> None:
    names = ["b/2.jpg", "a/2.JPEG", "a/10.png", "b/1.jpeg", "a/._2.JPEG", "a/notes.txt"]
    photos = open_imagenet(write(tmp_path, *names))
    assert [f"{path.parent.name}/{path.name}" for path in photos.paths] == [
        "a/10.png",
        "a/2.JPEG",
        "b/1.jpeg",
        "b/2.jpg",
    ]
    assert [int(photos[index][0, 0, 0]) for index in range(len(photos))] == [2, 1, 3, 0]
    assert photos[0].shape == (6, 8, 3)
    assert photos.paths[-1] == list(photos.paths)[-1]


def test_splits_are_apart(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png")
    write(tmp_path, "a/2.png", "a/3.png", split="train")
    assert (len(open_imagenet(tmp_path)), len(open_imagenet(tmp_path, "train"))) == (1, 2)


def test_the_hash_tells_sets_apart_by_names_and_sizes(tmp_path: Path) -> None:
    first = open_imagenet(write(tmp_path / "1", "a/1.png", "b/2.png")).sha256
    assert open_imagenet(write(tmp_path / "2", "a/1.png", "b/2.png")).sha256 == first
    assert open_imagenet(write(tmp_path / "3", "a/1.png", "b/3.png")).sha256 != first
    with (tmp_path / "1/imagenet/val/a/1.png").open("ab") as file:
        file.write(b"more")
    assert open_imagenet(tmp_path / "1").sha256 != first


def test_what_is_not_there_is_to_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"imagenet/val is not there: register at https://image-net.org"):
        open_imagenet(tmp_path)


def test_photos_that_are_not_sorted_into_classes_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"no photo .* sort the published photos into one folder a class"):
        open_imagenet(write(tmp_path, "ILSVRC2012_val_00000001.JPEG"))


def test_a_folder_that_is_no_class_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="n00000000 is no class of ImageNet-1K, nor are 1 other folders: move"):
        open_imagenet(write(tmp_path, "n00000000/1.JPEG", "n01440764/1.JPEG", "thumbnails/1.JPEG"))


def test_a_broken_photo_is_named_when_it_is_read(tmp_path: Path) -> None:
    write(tmp_path, "a/1.png", "a/2.png")
    (tmp_path / "imagenet/val/a/2.png").write_bytes(b"\x89PNG")
    photos = open_imagenet(tmp_path)
    assert photos[0].shape == (6, 8, 3)
    with pytest.raises(BenchError, match=r"a/2\.png is broken or cut short"):
        photos[1]


def test_the_samples_have_the_labels_of_their_folders(shared: Path) -> None:
    photos = open_imagenet(shared / "samples")
    names = ImageNetInfo("imagenet-1k").label_names()
    assert len(photos) == 40
    assert [names[label] for label in photos.labels] == [path.parent.name for path in photos.paths]
    assert photos[3].ndim == 3


class TestVerify:
    def test_broken_photos_make_the_set_unusable(self, tmp_path: Path) -> None:
        write(tmp_path, *(f"{wnid}/x.JPEG" for wnid in REAL))
        assert verify("imagenet", tmp_path).ok
        (tmp_path / "imagenet/val/n02123045/x.JPEG").write_bytes(b"")
        report = verify("imagenet", tmp_path)
        assert not report.ok
        assert any("1 images cannot be used: " in line and "n02123045/x.JPEG" in line for line in report.lines)

    def test_the_report_counts_classes_and_their_photos(self, tmp_path: Path) -> None:
        report = verify("imagenet", write(tmp_path, *(f"{wnid}/{k}.JPEG" for wnid in REAL for k in "12")))
        assert (report.ok, report.complete) == (True, False)
        assert "a subset: 6 of 50,000 images" in report.lines
        assert any(line.startswith("3 of 1,000 classes, 2 to 2 photos in each") for line in report.lines)

    def test_the_report_says_what_labels_are(self, tmp_path: Path) -> None:
        assert f"labels are {OFFICIAL}" in verify("imagenet", write(tmp_path / "1", "n01440764/x.JPEG")).lines
        assert f"labels are {NUMBERS}" in verify("imagenet", write(tmp_path / "2", "7/x.JPEG")).lines

    def test_names_of_classes_are_no_labels_of_the_thousand(self, tmp_path: Path) -> None:
        report = verify("imagenet", write(tmp_path, "goldfish/1.JPEG", "tench/1.JPEG"))
        assert not report.ok
        assert "nobody knows which of ImageNet-1K's classes they are: rename them" in report.lines[0]

    def test_a_folder_that_is_no_class_is_reported_not_raised(self, tmp_path: Path) -> None:
        report = verify("imagenet", write(tmp_path, "n00000000/1.JPEG"))
        assert not report.ok
        assert "no class of ImageNet-1K" in report.lines[0]
