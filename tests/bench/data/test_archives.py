"""Archives: what is unpacked of an honest one, and that a hostile one writes nothing."""

from __future__ import annotations

import io
import random
import stat
import warnings
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from bench.data import archives
from bench.data.archives import unpack
from models.errors import BenchError

PHOTOS = {f"val2017/{n}.jpg": random.Random(n).randbytes(3000) for n in range(5)}


def show(description: str, total: int | None) -> nullcontext:
    return nullcontext(lambda done, expected: None)


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def archive(path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        warnings.simplefilter("ignore")  # names that come twice
        for name, content in members:
            opened.writestr(name, content)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    rest = [("val2017/", b""), ("README", b"read me")]
    return archive(tmp_path / "val2017.zip", [*rest, *PHOTOS.items()])


def test_what_is_wanted_of_an_archive_is_unpacked(honest: Path, tmp_path: Path) -> None:
    unpack(honest, tmp_path / "out", "val2017/*.jpg", "", show)
    assert files(tmp_path / "out") == PHOTOS


def test_a_folder_that_surrounds_everything_is_left_out(honest: Path, tmp_path: Path) -> None:
    unpack(honest, tmp_path / "out", "val2017/*", "val2017", show)
    assert files(tmp_path / "out") == {name.removeprefix("val2017/"): content for name, content in PHOTOS.items()}


def test_files_of_an_earlier_attempt_are_kept_where_their_bytes_are_right(
    honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack(honest, tmp_path / "out", "*.jpg", "", show)
    whole, broken, cut = (tmp_path / "out" / "val2017" / f"{n}.jpg" for n in range(3))
    broken.write_bytes(b"\0" * 3000)
    cut.write_bytes(cut.read_bytes()[:10])
    before = whole.stat().st_mtime_ns, whole.stat().st_ino
    unpack(honest, tmp_path / "out", "*.jpg", "", show)
    assert files(tmp_path / "out") == PHOTOS
    assert (whole.stat().st_mtime_ns, whole.stat().st_ino) == before


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (member("/etc/passwd.jpg"), "is an absolute path"),
        (member("C:/windows.jpg"), "is an absolute path"),
        (member("../outside.jpg"), "leads out of its folder"),
        (member("val2017/../../outside.jpg"), "leads out of its folder"),
        (member("val2017\\..\\outside.jpg"), "is no plain name"),
        (member("val2017//a.jpg"), "is no plain name"),
        (member("./a.jpg"), "is no plain name"),
        (member("val2017/\x1b[31m.jpg"), "is no plain name"),
        (member("val2017/" + "a" * 300 + ".jpg"), "is too long a name"),
        (member("val2017/link.jpg", stat.S_IFLNK | 0o777), "is a link"),
        (member("val2017/device.jpg", stat.S_IFBLK | 0o666), "is a device"),
        (member("val2017/pipe.jpg", stat.S_IFIFO | 0o666), "is a device"),
        (member("val2017/0.JPG"), r"is 'val2017/0\.jpg' again"),
        (member("VAL2017/9.jpg"), "is 'val2017' again"),
        (member("val2017/0.jpg"), r"is 'val2017/0\.jpg' again"),
        (member("val2017/0.jpg/a.jpg"), r"is 'val2017/0\.jpg' again"),
        (member("val2017"), "is 'val2017' again"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_hostile_member_keeps_the_whole_archive_from_being_unpacked(
    tmp_path: Path, bad: zipfile.ZipInfo, said: str, first: bool
) -> None:
    members = [*PHOTOS.items(), (bad, b"hostile")]
    path = archive(tmp_path / "val2017.zip", members)
    with pytest.raises(BenchError, match=rf"has the member .*, which {said}.*: nothing was unpacked"):
        unpack(path, tmp_path / "a" / "b", "val2017/*", "", show)
    assert [path.name for path in tmp_path.iterdir()] == ["val2017.zip"]


def test_an_encrypted_member_is_refused(honest: Path, tmp_path: Path) -> None:
    content = bytearray(honest.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    honest.write_bytes(content)
    with pytest.raises(BenchError, match="which is encrypted: nothing was unpacked"):
        unpack(honest, tmp_path / "out", "*", "", show)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = archive(tmp_path / "val2017.zip", [("val2017/0.jpg", b"\0" * 10_000_000)])
    with pytest.raises(BenchError, match=r"would swell to 10,000,000, which no data set does: nothing was unpacked"):
        unpack(path, tmp_path / "out", "*", "", show)
    assert not (tmp_path / "out").exists()


def test_a_member_that_is_larger_than_it_says_is_damage(honest: Path, tmp_path: Path) -> None:
    """A bomb that lies about its size: no more than was said is written, and it does not pass for whole."""
    content = bytearray(honest.read_bytes())
    for start in (content.rindex(b"PK\x01\x02") + 24, content.rindex(b"PK\x03\x04") + 22):
        content[start : start + 4] = (100).to_bytes(4, "little")
    honest.write_bytes(content)
    with pytest.raises(BenchError, match=r"is damaged \(.*\): delete it"):
        unpack(honest, tmp_path / "out", "*.jpg", "", show)
    assert files(tmp_path / "out").keys() == {*list(PHOTOS)[:-1], "val2017/.growing"}


@pytest.mark.parametrize("place", [100, 0.3, 0.6, 0.99])
def test_damage_is_one_sentence(honest: Path, tmp_path: Path, place: float) -> None:
    content = bytearray(honest.read_bytes())
    start = int(place * len(content)) if place < 1 else int(place)
    content[start : start + 40] = bytes(range(40))
    honest.write_bytes(content)
    with pytest.raises(BenchError, match=r"val2017\.zip (is damaged|has )"):
        unpack(honest, tmp_path / "out", "*.jpg", "", show)
    assert all(PHOTOS[name] == content for name, content in files(tmp_path / "out").items() if name in PHOTOS)


@pytest.mark.parametrize("content", [b"", b"<html>no such file</html>", b"PK\x03\x04"])
def test_what_is_no_archive_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(BenchError, match="is damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out", "*", "", show)


def test_an_archive_of_something_else_is_said(honest: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"has no member like 'train2017/\*\.jpg'"):
        unpack(honest, tmp_path / "out", "train2017/*.jpg", "", show)


def test_a_disk_without_room_is_said_before_anything_is_unpacked(
    honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = []
    monkeypatch.setattr(archives, "require_room", lambda folder, size, what: wanted.append((size, what)))
    unpack(honest, tmp_path / "out", "*.jpg", "", show)
    unpack(honest, tmp_path / "out", "*.jpg", "", show)
    assert wanted == [(15_000, "unpacking val2017.zip"), (0, "unpacking val2017.zip")]


def test_progress_counts_bytes(honest: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    unpack(honest, tmp_path / "out", "*.jpg", "", lambda what, total: nullcontext(lambda *args: told.append(args)))
    assert told == [(3000 * n, 15_000) for n in range(1, 6)]


def test_an_archive_in_an_archive_stays_one(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as opened:
        opened.writestr("../outside", "x")
    path = archive(tmp_path / "a.zip", [("val2017/inner.zip", inner.getvalue())])
    unpack(path, tmp_path / "out", "*", "", show)
    assert files(tmp_path / "out") == {"val2017/inner.zip": inner.getvalue()}
