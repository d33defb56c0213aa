"""Downloads over several connections, of files that change, and of others than were published."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from models.errors import BenchError
from models.files import transfer
from models.files.transfer import Remote, download
from tests.web import Server, serving

CONTENT = b"".join(hashlib.sha256(bytes([n % 256, n // 256])).digest() for n in range(20_000))
DIGEST = hashlib.sha256(CONTENT).hexdigest()
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"file": CONTENT}) as server:
        yield server


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PAUSE_S", 0.0)
    monkeypatch.setattr(transfer, "PARALLEL_FROM", 100_000)
    monkeypatch.setattr(transfer, "PIECE", 50_000)


def show(description: str, total: int | None) -> nullcontext:
    return nullcontext(lambda done, expected: None)


def fetch(server: Server, path: Path, **published: object) -> bytes:
    download(Remote(server.url("file"), **published), path, show)
    return path.read_bytes()


@pytest.mark.parametrize("published", [{}, {"bytes": len(CONTENT)}, {"sha256": DIGEST}])
def test_a_large_file_comes_over_several_connections(
    server: Server, tmp_path: Path, published: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece, together = transfer._piece, threading.Barrier(transfer.CONNECTIONS)

    def with_others(url: str, start: int, *args: object) -> bytes:
        if start < transfer.CONNECTIONS * transfer.PIECE:
            together.wait(timeout=30)  # breaks unless as many are on their way at a time
        return piece(url, start, *args)

    monkeypatch.setattr(transfer, "_piece", with_others)
    assert fetch(server, tmp_path / "file", **published) == CONTENT
    assert server.asked[0] is None
    assert {"bytes=0-49999", "bytes=50000-99999"} <= set(server.asked[1:])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_server_without_ranges_sends_a_large_file_in_one_piece(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    assert fetch(server, tmp_path / "file") == CONTENT
    assert server.asked == [None]


def test_a_server_that_promises_ranges_and_sends_all_is_asked_for_all(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = transfer._piece

    def forgetful(*args: object) -> bytes:
        server.ranges = False
        return pieces(*args)

    monkeypatch.setattr(transfer, "_piece", forgetful)
    assert fetch(server, tmp_path / "file", sha256=DIGEST) == CONTENT
    assert server.asked[-1] is None


@pytest.mark.parametrize("drop_after", [30_000, 49_999])
def test_every_piece_goes_on_where_its_connection_broke(server: Server, tmp_path: Path, drop_after: int) -> None:
    server.drop_after = drop_after
    assert fetch(server, tmp_path / "file", sha256=DIGEST) == CONTENT


def test_what_arrived_in_order_is_kept_when_the_server_goes_away(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = transfer._piece

    def gone(url: str, start: int, *args: object) -> bytes:
        if start >= 200_000:
            raise ConnectionError("gone")
        return pieces(url, start, *args)

    monkeypatch.setattr(transfer, "_piece", gone)
    with pytest.raises(BenchError, match=r"cannot download http.* \(gone\): run the command again to resume"):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:200_000]
    assert not (tmp_path / "file").exists()
    monkeypatch.setattr(transfer, "_piece", pieces)
    server.asked.clear()
    assert fetch(server, tmp_path / "file", sha256=DIGEST) == CONTENT
    assert server.asked[0] == "bytes=200000-"


def test_ctrl_c_stops_all_connections(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer.Future, "result", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("parallel", [True, False])
def test_a_file_that_was_replaced_meanwhile_is_not_mixed_with_the_old_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parallel: bool
) -> None:
    if not parallel:
        monkeypatch.setattr(transfer, "PARALLEL_FROM", 1 << 40)
    server.tags, server.drop_after = True, 60_000
    monkeypatch.setattr(transfer, "_BREAKS", 0)
    with pytest.raises(BenchError):
        fetch(server, tmp_path / "file")
    monkeypatch.undo()
    monkeypatch.setattr(transfer, "PARALLEL_FROM", 100_000 if parallel else 1 << 40)
    (tmp_path / "file.part").write_bytes(CONTENT[:60_000])
    server.drop_after, server.files["file"] = None, CONTENT[::-1]
    assert fetch(server, tmp_path / "file") == CONTENT[::-1]


def test_a_part_of_a_longer_file_starts_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * (len(CONTENT) + 5))
    assert fetch(server, tmp_path / "file", bytes=len(CONTENT)) == CONTENT


def test_a_file_of_another_size_than_the_published_one_is_not_downloaded(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"offers 640,000 bytes instead of the 7 that were published"):
        fetch(server, tmp_path / "file", bytes=7)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lie", [-1, 1])
def test_a_length_that_is_a_lie_leaves_no_file(server: Server, tmp_path: Path, lie: int) -> None:
    server.lie, server.ranges = lie, False
    with pytest.raises(BenchError):
        fetch(server, tmp_path / "file", sha256=DIGEST)
    assert not (tmp_path / "file").exists()


def test_where_the_server_tells_no_length_the_published_one_tells_a_cut(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "PARALLEL_FROM", 1 << 40)
    server.lie, server.drop_after = None, 250_000
    assert fetch(server, tmp_path / "file", bytes=len(CONTENT)) == CONTENT
    assert server.asked == [None, "bytes=250000-", "bytes=500000-"]


def test_without_a_hash_the_size_is_what_tells_another_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * 10)
    server.files["file"] = b"x" * 10
    with pytest.raises(BenchError, match=r"gave 10 bytes instead of 12: nothing was kept"):
        fetch(server, tmp_path / "file", bytes=12)
    assert list(tmp_path.iterdir()) == []


def test_another_file_of_the_right_size_is_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=rf"gave 640,000 bytes with sha256 {DIGEST} instead of {'0' * 64}"):
        fetch(server, tmp_path / "file", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_said_before_a_byte_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1, 1, 1000))
    with pytest.raises(BenchError, match=r"file needs 0\.6 MB, but 1,000 bytes are free at '.*': make room there"):
        fetch(server, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_the_whole_file(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    download(
        Remote(server.url("file")), tmp_path / "file", lambda what, total: nullcontext(lambda *args: told.append(args))
    )
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
