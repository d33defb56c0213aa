"""`bench data`: fetch tells what it will do, does it and checks it; render draws the worlds it is asked for."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli import data
from models.errors import BenchError
from models.files import transfer
from tests.bench.data.publisher import LAYOUT, publishing
from tests.web import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(transfer, "_PAUSE_S", 0.0)
    monkeypatch.setattr(os, "sync", lambda: None)
    with publishing(monkeypatch) as server:
        yield server


def test_a_dry_run_says_all_and_downloads_nothing(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data.fetch(("coco", "sa1b"), dry_run=True)
    said = capsys.readouterr().out
    assert "val2017.zip: " in said
    assert "annotations_trainval2017.zip: " in said
    assert "to download: " in said
    assert "sa1b is given to people with an account alone:" in said
    assert server.asked == []
    assert not (tmp_path / "data").exists()


def test_a_set_is_fetched_and_verified(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data.fetch(("coco", "coco-boxes"))
    said = capsys.readouterr().out
    assert "coco: complete" in said
    assert "coco-boxes: complete" in said
    assert (tmp_path / "data/coco/val2017/1.jpg").read_bytes() == LAYOUT["coco/val2017/1.jpg"]
    data.fetch(("coco",))
    assert "to download" not in capsys.readouterr().out


def test_a_server_that_lacks_one_file_costs_that_file_alone(server: Server, tmp_path: Path) -> None:
    server.files["coco_vitdet.json"] = b""
    with pytest.raises(BenchError, match=r"coco_vitdet\.json gave 0 bytes with sha256"):
        data.fetch(("coco-boxes", "lvis-boxes", "coco"))
    assert (tmp_path / "data/lvis/detections/lvis_vitdet.json").is_file()
    assert (tmp_path / "data/coco/val2017/3.jpg").is_file()


def test_too_little_room_is_said_after_the_sizes_and_before_the_first_byte(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(BenchError, match=r"all this needs .*, but 10 bytes are free"):
        data.fetch(("coco",))
    assert "to download: " in capsys.readouterr().out
    assert server.asked == []


def test_a_set_that_is_still_not_there_ends_with_1(server: Server, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as left:
        data.fetch(("imagenet",))
    assert left.value.code == 1
    assert "imagenet: NOT USABLE" in capsys.readouterr().out


def test_without_a_name_or_a_folder_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BenchError, match="name the data sets to fetch"):
        data.fetch(())
    monkeypatch.delenv("BENCH_DATA", raising=False)
    with pytest.raises(BenchError, match=r"no data folder: set BENCH_DATA or give --root$"):
        data.fetch(("coco",))


def test_the_worlds_that_are_named_are_drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(data, "WORLDS", {name: lambda name=name: Path("/cache") / name for name in data.WORLDS})
    data.render()
    assert capsys.readouterr().out.split() == ["/cache/coco", "/cache/detection", "/cache/ade20k", "/cache/imagenet"]
    data.render(("imagenet",))
    assert capsys.readouterr().out.split() == ["/cache/imagenet"]
    with pytest.raises(BenchError, match="unknown world 'lvis'"):
        data.render(("coco", "lvis"))
    assert capsys.readouterr().out == ""
