"""Hashes of files are remembered, and asked again when anything says that a file may have changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.data import contents
from bench.data.contents import Contents


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "RECENT_NS", -1)  # files of a test are new, and nobody waits for two seconds
    return tmp_path / "cache"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "coco/val2017").mkdir(parents=True)
    path = tmp_path / "coco/val2017/1.jpg"
    path.write_bytes(b"first")
    return path


@contextmanager
def bar(description: str, total: int, done: int) -> Iterator[object]:
    yield lambda n: None


def hash_of(path: Path) -> str:
    (found,) = Contents().hashes([path], bar)
    return found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_read_once(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hash_of(photo) == sha256(b"first")
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert hash_of(photo) == sha256(b"first")


@pytest.mark.parametrize("how", ["in place", "moved over it", "with the old times"])
def test_another_content_of_the_same_size_is_noticed(photo: Path, how: str) -> None:
    hash_of(photo)
    before = photo.stat()
    if how == "moved over it":
        (photo.parent / "new").write_bytes(b"other")
        os.replace(photo.parent / "new", photo)
    else:
        photo.write_bytes(b"other")
    if how != "in place":
        os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hash_of(photo) == sha256(b"other")


def test_a_file_that_has_just_changed_is_not_remembered(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "RECENT_NS", 2_000_000_000)
    hash_of(photo)
    monkeypatch.setattr(contents, "_state", lambda found: [5, 0, found.st_ctime_ns, 0])  # a clock that stands still
    photo.write_bytes(b"other")
    assert hash_of(photo) == sha256(b"other")


def test_data_that_are_copied_elsewhere_have_the_same_hashes(photo: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "coco", tmp_path / "copy/coco")
    assert hash_of(tmp_path / "copy/coco/val2017/1.jpg") == hash_of(photo)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"files": []}', b'{"files": {"val2017/1.jpg": 1}}'])
def test_a_damaged_memory_is_no_memory(photo: Path, cache: Path, damage: bytes) -> None:
    hash_of(photo)
    (memory,) = (cache / "contents").iterdir()
    memory.write_bytes(damage)
    assert hash_of(photo) == sha256(b"first")
    assert json.loads(memory.read_bytes())["files"]["val2017/1.jpg"][-1] == sha256(b"first")


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(photo: Path, cache: Path) -> None:
    cache.write_bytes(b"a file")
    assert hash_of(photo) == sha256(b"first")


def test_an_unreadable_file_is_asked_again(photo: Path) -> None:
    assert hash_of(photo.parent) == "unreadable: Is a directory"
    assert hash_of(photo.parent / "2.jpg") == "unreadable: No such file or directory"
    (photo.parent / "2.jpg").write_bytes(b"second")
    assert hash_of(photo.parent / "2.jpg") == sha256(b"second")


def test_what_is_known_of_other_files_is_kept(photo: Path, cache: Path) -> None:
    other = photo.parent.parent / "train2017/2.jpg"
    other.parent.mkdir()
    other.write_bytes(b"second")
    hash_of(photo)
    hash_of(other)
    (memory,) = (cache / "contents").iterdir()
    assert sorted(json.loads(memory.read_bytes())["files"]) == ["train2017/2.jpg", "val2017/1.jpg"]


def test_progress_is_shown_where_there_is_much_to_read(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    @contextmanager
    def watched(description: str, total: int, done: int) -> Iterator[object]:
        shown.append((description, total, done))
        yield lambda n: None

    Contents().hashes([photo], watched)
    monkeypatch.setattr(contents, "LARGE", 3)
    photo.write_bytes(b"other")
    Contents().hashes([photo], watched)
    assert shown == [("hashing images", 1, 0)]
