"""Worlds are drawn whole or not at all, and what a killed process left goes."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.data.dead_leaves.files import rendered, whole_or_not_at_all
from bench.paths import cache_dir
from bench.store.disk import temporary_beside
from bench.store.owners import current_owner
from models.errors import BenchError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    return tmp_path / "dead_leaves"


def draw(root: Path) -> None:
    with whole_or_not_at_all(root) as unfinished:
        (unfinished / "scene").write_text("drawn")


@pytest.mark.parametrize("there", [False, True])
def test_what_dead_processes_left_is_swept_and_what_living_ones_make_is_not(folder: Path, there: bool) -> None:
    if there:
        rendered("world", draw)
    dead, mine = replace(current_owner(), boot="abcdef"), current_owner()
    for name in ("world.999999999.part", f"world.{os.getpid()}.part", "own.part", "mine.a.part"):
        (folder / name).mkdir(parents=True)
    for owner in (dead, mine):
        (temporary_beside(folder / "world", owner) / "scene").mkdir(parents=True)
    assert (rendered("world", draw) / "scene").read_text() == "drawn"
    left = {"world", f"world.{os.getpid()}.part", "own.part", "mine.a.part", f"world.tmp-{mine.name}"}
    assert {path.name for path in folder.iterdir()} == left


def test_a_world_that_fails_half_way_leaves_nothing(folder: Path) -> None:
    def fail(root: Path) -> None:
        with whole_or_not_at_all(root) as unfinished:
            (unfinished / "scene").touch()
            raise OSError("encoder error -2 when writing image file")

    with pytest.raises(BenchError, match=r"dead_leaves/world was not written \(encoder error -2"):
        rendered("world", fail)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_refuses_is_a_sentence(folder: Path, number: int) -> None:
    def fail(root: Path) -> None:
        with whole_or_not_at_all(root):
            raise OSError(number, os.strerror(number))

    with pytest.raises(BenchError, match=rf"{os.strerror(number)}") as told:
        rendered("world", fail)
    assert "BENCH_RUNS" not in str(told.value)


def test_a_cache_that_is_a_file_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file"))
    assert cache_dir().is_file()
    with pytest.raises(BenchError, match=r"file/dead_leaves.*a file is where a folder is needed"):
        rendered("world", draw)
