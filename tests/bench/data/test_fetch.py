"""Data sets from a server: whole after every kind of interruption, and never taken for whole before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from bench.data import fetch as fetching
from bench.data.catalog import INSTANCE_SETS
from bench.data.fetch import WORKSHOP, announce, downloads_of, fetch, instructions, is_there, require_room
from bench.data.verify import verify
from bench.store.locks import locked
from models.errors import BenchError
from models.files import transfer
from tests.bench.data.publisher import ARCHIVES, LAYOUT, picture, publishing, zipped
from tests.web import Server

NAMES = ("coco", "lvis", "coco-boxes", "lvis-boxes", "ade20k")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "_PAUSE_S", 0.0)
    monkeypatch.setattr(os, "sync", lambda: None)
    with publishing(monkeypatch) as server:
        yield server


def show(description: str, total: int | None) -> nullcontext:
    return nullcontext(lambda done, expected: None)


def fetch_all(root: Path, *names: str) -> None:
    for download in downloads_of(names or NAMES):
        fetch(download, root, show)


def files(root: Path) -> dict[str, bytes]:
    """Return all files but those that are not whole yet."""
    found = (path for path in root.rglob("*") if path.is_file() and WORKSHOP not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_all_sets_arrive_in_the_layout_that_verify_calls_complete(server: Server, tmp_path: Path) -> None:
    fetch_all(tmp_path / "data")
    assert files(tmp_path / "data") == LAYOUT
    assert list(tmp_path.rglob(WORKSHOP)) == []
    for name in NAMES:
        report = verify(name, tmp_path / "data")
        assert report.ok, report
        assert report.complete == (name != "lvis-boxes")  # whose hash nobody published


def test_a_file_that_two_sets_need_comes_once(server: Server, tmp_path: Path) -> None:
    names = [download.name for download in downloads_of(("lvis", "coco", "lvis"))]
    assert sorted(names) == sorted(
        ["val2017.zip", "train2017.zip", "annotations_trainval2017.zip", "lvis_v1_val.json.zip"]
    )
    fetch_all(tmp_path)
    asked = len(server.asked)
    fetch_all(tmp_path)
    assert len(server.asked) == asked


def test_what_a_user_has_is_kept_and_the_rest_is_added(server: Server, tmp_path: Path) -> None:
    photo = tmp_path / "coco" / "val2017" / "2.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(picture(99, "JPEG"))
    for name in ("mine.txt", "notes.txt", ".hidden.jpg"):
        (tmp_path / "coco" / "val2017" / name).write_text("mine")
    (tmp_path / "coco" / "annotations").mkdir()
    fetch_all(tmp_path, "coco")
    kept = {"coco/val2017/2.jpg": picture(99, "JPEG"), "coco/val2017/mine.txt": b"mine"}
    assert files(tmp_path).items() >= kept.items()
    assert verify("coco", tmp_path).ok


def test_on_a_disk_that_may_only_be_read_a_set_that_is_there_is_fine(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*args: object, **more: object) -> None:
        raise OSError(30, "Read-only file system")

    fetch_all(tmp_path, "coco")
    monkeypatch.setattr(Path, "mkdir", read_only)
    fetch_all(tmp_path, "coco")
    with pytest.raises(BenchError, match=r"\(Read-only file system\): name a place on another disk"):
        fetch_all(tmp_path, "ade20k")


def test_a_folder_that_is_a_link_to_another_disk_is_filled_there(server: Server, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "coco").symlink_to(tmp_path / "elsewhere")
    fetch_all(tmp_path / "data", "coco")
    assert (tmp_path / "elsewhere" / "val2017" / "1.jpg").is_file()


class Killed(BaseException):
    """What no handler catches."""


class Killer:
    """An audit hook that ends this process's work at its n-th deed in a folder; Python has no way to remove one."""

    def __init__(self) -> None:
        self.folder, self.left = "", 0
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple) -> None:
        if not self.folder or event not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"):
            return
        if any(str(path).startswith(self.folder) for path in args[:2] if isinstance(path, (str, os.PathLike))):
            self.left -= 1
            if self.left == 0:
                raise Killed(event, args)


_killer = Killer()


def test_after_a_kill_at_any_deed_nothing_passes_for_whole_and_the_next_call_ends_the_work(
    server: Server, tmp_path: Path
) -> None:
    names, wanted = ("coco",), {name: c for name, c in LAYOUT.items() if name.startswith("coco/")}
    wanted = {name: content for name, content in wanted.items() if "train2017/" not in name and "vitdet" not in name}
    for deed in range(1, 1000):
        root = tmp_path / str(deed)
        _killer.folder, _killer.left = str(root), deed
        try:
            fetch_all(root, *names)
        except Killed:
            pass
        else:
            break
        finally:
            _killer.folder = ""
        for lock in root.rglob("*.lock"):  # this process lives; those of a dead one are free
            shutil.rmtree(lock)
        found = files(root)
        assert found.items() <= wanted.items(), deed
        for download in downloads_of(names):
            whole = {
                name for name in wanted if name.startswith(tuple(f"{download.folder}/{p}" for p, _ in download.leaves))
            }
            assert is_there(download, root) == (whole <= found.keys()), deed
        fetch_all(root, *names)
        assert files(root) == wanted, deed
        assert list(root.rglob(WORKSHOP)) == [], deed
        shutil.rmtree(root)
    assert 40 < deed < 1000


SCRIPT = """
import sys
from contextlib import nullcontext
from pathlib import Path
from bench.data.catalog import Download
from bench.data.fetch import fetch
url, root = sys.argv[1:]
download = Download(url, "coco", (("val2017", 3),), members="val2017/*.jpg")
fetch(download, Path(root), lambda what, total: nullcontext(lambda done, total: print(done, flush=True)))
"""


def test_a_process_that_is_killed_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    content = {f"val2017/{n}.jpg": os.urandom(400_000) for n in range(3)}
    server.files["val2017.zip"] = zipped(content)
    server.pause_s = 0.05
    command = [sys.executable, "-c", SCRIPT, server.url("val2017.zip"), str(tmp_path)]
    part = tmp_path / "coco" / WORKSHOP / "val2017.zip.part"
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    arrived = part.stat().st_size
    assert 0 < arrived < len(server.files["val2017.zip"])
    assert files(tmp_path) == {}
    server.pause_s = 0.0
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert server.asked == [None, f"bytes={arrived}-"]
    assert files(tmp_path) == {f"coco/{name}": data for name, data in content.items()}


def test_two_processes_do_not_fetch_one_file(server: Server, tmp_path: Path) -> None:
    (download,) = downloads_of(("coco-boxes",))
    lock = tmp_path / "coco" / "detections" / WORKSHOP / "coco_vitdet.json.lock"
    lock.parent.mkdir(parents=True)
    with locked(lock), pytest.raises(BenchError, match=r"is fetching coco_vitdet\.json into .*: wait for it"):
        fetch(download, tmp_path, show)
    fetch(download, tmp_path, show)


def test_a_hostile_archive_leaves_the_data_as_they_were(server: Server, tmp_path: Path) -> None:
    val2017 = next(download for download in downloads_of(("coco",)) if download.name == "val2017.zip")
    server.files["val2017.zip"] = zipped({**ARCHIVES["val2017.zip"], "val2017/../../../evil.jpg": b"evil"})
    download = fetching.Download(val2017.url, "coco", val2017.leaves, members=val2017.members)
    with pytest.raises(BenchError, match="leads out of its folder: nothing was unpacked"):
        fetch(download, tmp_path / "data", show)
    assert files(tmp_path) == {}


def test_another_archive_than_the_published_one_is_not_unpacked(server: Server, tmp_path: Path) -> None:
    content = bytearray(server.files["val2017.zip"])
    content[50] ^= 1
    server.files["val2017.zip"] = bytes(content)
    with pytest.raises(BenchError, match=r"gave .* bytes with sha256 .* instead of .*: nothing was kept"):
        fetch_all(tmp_path, "coco")
    assert not any("val2017/" in name for name in files(tmp_path))


def test_an_archive_that_a_user_put_there_is_checked_and_taken(server: Server, tmp_path: Path) -> None:
    (download,) = downloads_of(("ade20k",))
    place = tmp_path / "ade20k" / WORKSHOP / download.name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"something else")
    with pytest.raises(BenchError, match=r"is not the published file, it has 14 bytes with sha256 .*: delete it and"):
        fetch(download, tmp_path, show)
    place.write_bytes(server.files[download.name])
    fetch(download, tmp_path, show)
    assert server.asked == []
    assert verify("ade20k", tmp_path).complete


def test_an_archive_that_lacks_what_it_should_have_is_said(server: Server, tmp_path: Path) -> None:
    content = dict(list(ARCHIVES["val2017.zip"].items())[:2])
    server.files["val2017.zip"] = zipped(content)
    download = fetching.Download(server.url("val2017.zip"), "coco", (("val2017", 3),), members="val2017/*.jpg")
    with pytest.raises(BenchError, match=r"val2017 has 2 of 3 files, although .*val2017\.zip was unpacked: move away"):
        fetch(download, tmp_path, show)


def test_a_file_where_a_folder_belongs_is_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "val2017").write_text("mine")
    with pytest.raises(BenchError, match=r"val2017 has 0 of 3 files, although .* move away what is in its place"):
        fetch_all(tmp_path, "coco")
    assert (tmp_path / "coco" / "val2017").read_text() == "mine"


def test_a_disk_that_fills_while_unpacking_is_one_sentence_and_the_work_goes_on_later(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "coco"))

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "unpack", full)
        with pytest.raises(BenchError, match=r"\(No space left on device\): make room there and run the same command"):
            fetch_all(tmp_path, "coco")
    fetch_all(tmp_path, "coco")
    assert verify("coco", tmp_path).complete
    assert sum(asked is None for asked in server.asked) == 2


def test_room_is_asked_for_before_anything_is_downloaded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(BenchError, match=rf"all this needs .*, but 1,000 bytes are free at '{tmp_path}': make room"):
        require_room(downloads_of(NAMES), tmp_path / "data")


def test_the_announcement_has_sizes_hashes_and_what_is_there_already(tmp_path: Path) -> None:
    downloads = downloads_of(("coco", "lvis-boxes"))
    part = tmp_path / "coco" / WORKSHOP / "val2017.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 200_000)
    lines = announce(downloads, tmp_path)
    assert f"zips/val2017.zip: 815.6 MB, checked by sha256, unpacked into {tmp_path}/coco, 0.2 MB of it" in lines[1]
    assert "lvis_vitdet.json: size not published (about 1.31 GB), no hash published, into " in lines[2]
    assert lines[3].startswith("to download: about 2.38 GB; on disk at most about 2.62 GB while archives are unpacked")
    assert "2.62 GB afterwards; free: " in lines[3]


def test_sets_behind_an_account_have_instructions_with_the_users_folder(tmp_path: Path) -> None:
    assert downloads_of(("imagenet", "sa1b")) == []
    for name in ("imagenet", "sa1b"):
        text = "\n".join(instructions(name, tmp_path / "my data"))
        assert f"'{tmp_path}/my data/{name}'" in text
        assert f"python -m bench data verify {name} --root '{tmp_path}/my data'" in text
    assert all(instructions(name, tmp_path) == [] for name in NAMES)


def test_the_command_for_sa1b_downloads_its_archives(server: Server, tmp_path: Path) -> None:
    if not shutil.which("curl") or not shutil.which("bash"):
        pytest.skip("no curl or bash on this machine")
    server.files |= {f"sa_{n}.tar": bytes(range(n, 200)) * 999 for n in range(3)}
    folder = tmp_path / "my data" / "sa1b"
    folder.mkdir(parents=True)
    lines = [f"sa_{n}.tar\t{server.url(f'sa_{n}.tar')}\n" for n in range(3)]
    (folder / "links.txt").write_text("file_name\tcdn_link\n" + "".join(lines))
    (folder / "sa_1.tar").write_bytes(server.files["sa_1.tar"][:500])
    (line,) = (line for line in instructions("sa1b", tmp_path / "my data") if "curl" in line)
    subprocess.run(["bash", "-c", line.strip()], check=True, capture_output=True)
    assert all((folder / f"sa_{n}.tar").read_bytes() == server.files[f"sa_{n}.tar"] for n in range(3))
    assert "bytes=500-" in server.asked


def test_an_unknown_set_is_an_error_with_the_nearest_known() -> None:
    with pytest.raises(BenchError, match="unknown data set 'cocoo': did you mean 'coco'"):
        downloads_of(("cocoo",))


def test_what_fetch_leaves_is_what_readers_open() -> None:
    for published in INSTANCE_SETS.values():
        places = {f"{d.folder}/{place}" for d in published.downloads for place, _ in d.leaves}
        assert published.annotation_file in places
