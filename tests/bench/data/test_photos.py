"""Photos of a folder have one order everywhere, and a broken one is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.photos import PhotoFolder
from models.errors import BenchError, MissingData


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(["b/2.png", "a/9.JPEG", "a/10.png", "z.png", "b/ö.png"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4 + number, 3), (number, 0, 0)).save(path)
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "a" / "._9.JPEG").touch()  # macOS leaves these
    return tmp_path


def test_photos_are_numbered_in_the_order_of_their_paths(folder: Path) -> None:
    photos = PhotoFolder(folder)
    names = [photos.paths[index].relative_to(folder).as_posix() for index in range(len(photos))]
    assert names == ["a/10.png", "a/9.JPEG", "b/2.png", "b/ö.png", "z.png"]
    assert (photos[2] == np.zeros((3, 4, 3))).all()
    assert photos[2].dtype == np.uint8


def test_a_folder_can_be_sent_to_another_process(folder: Path) -> None:
    assert (pickle.loads(pickle.dumps(PhotoFolder(folder)))[0] == PhotoFolder(folder)[0]).all()


def test_a_broken_photo_is_named_when_it_is_read(folder: Path) -> None:
    (folder / "a" / "10.png").write_bytes(b"no photo")
    with pytest.raises(BenchError, match=r"a.10\.png is broken or cut short"):
        PhotoFolder(folder)[0]


def test_a_folder_that_is_absent_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"there is no folder of photos .*give --data"):
        PhotoFolder(tmp_path / "nowhere")
    with pytest.raises(BenchError, match="hold no photo"):
        PhotoFolder(tmp_path)


def test_as_many_photos_of_other_names_have_another_hash(tmp_path: Path) -> None:
    for folder, name in (("1", "a.png"), ("2", "a.png"), ("3", "b.png")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (2, 2)).save(tmp_path / folder / name)
    first, same, other = (PhotoFolder(tmp_path / folder).names_sha256() for folder in "123")
    assert first == same != other
