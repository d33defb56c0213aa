"""Downloads from a server on this machine that drops connections, refuses ranges or serves a web page."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.cards import ModelCard
from models.download import fetch
from models.errors import BenchError
from models.files import transfer
from tests.web import Server, serving

CONTENT = bytes(range(256)) * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"model.pt": CONTENT}) as server:
        yield server


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(transfer, "_PAUSE_S", 0.0)
    return tmp_path / "weights"


def card(server: Server, sha256: str = DIGEST) -> ModelCard:
    return ModelCard(
        "toy", None, "paper", "x:y", "model.pt", url=server.url("model.pt"), bytes=len(CONTENT), sha256=sha256
    )


def test_a_file_arrives_whole(server: Server, folder: Path) -> None:
    path = fetch(card(server))
    assert path == folder / "model.pt"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in folder.iterdir()] == ["model.pt"]


def test_a_dropped_connection_is_resumed_where_it_broke(server: Server) -> None:
    server.drop_after = 100_000
    assert fetch(card(server)).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_a_download_of_another_day_is_resumed(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "model.pt.part").write_bytes(CONTENT[:5000])
    assert fetch(card(server)).read_bytes() == CONTENT
    assert server.asked == ["bytes=5000-"]


def test_a_complete_part_only_moves_into_place(server: Server, folder: Path) -> None:
    folder.mkdir()
    (folder / "model.pt.part").write_bytes(CONTENT)
    assert fetch(card(server)).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: Server, folder: Path) -> None:
    server.ranges = False
    folder.mkdir()
    (folder / "model.pt.part").write_bytes(CONTENT[:5000])
    assert fetch(card(server)).read_bytes() == CONTENT


def test_a_file_that_is_here_is_not_asked_for_again(server: Server) -> None:
    fetch(card(server))
    fetch(card(server))
    assert len(server.asked) == 1


def test_another_file_than_the_published_one_is_not_kept(server: Server, folder: Path) -> None:
    with pytest.raises(BenchError, match=f"256,000 bytes with sha256 {DIGEST} instead of {'0' * 64}"):
        fetch(card(server, sha256="0" * 64))
    assert list(folder.iterdir()) == []


def test_a_server_that_sends_nothing_is_given_up(server: Server) -> None:
    server.drop_after = 0
    with pytest.raises(BenchError, match="cannot download"):
        fetch(card(server))
    assert len(server.asked) == transfer._BREAKS


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("status", 404, "Not Found"),
        ("content_type", "text/html", "the answer is a web page instead of a file"),
    ],
)
def test_an_answer_that_is_no_file_is_not_asked_for_twice(
    server: Server, folder: Path, attribute: str, value: object, said: str
) -> None:
    setattr(server, attribute, value)
    with pytest.raises(BenchError, match=said):
        fetch(card(server))
    assert len(server.asked) == 1
    assert list(folder.iterdir()) == []


def test_offline_the_error_says_what_to_put_where(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/model.pt"
    with pytest.raises(BenchError) as caught:
        fetch(ModelCard("toy", None, "paper", "x:y", "model.pt", url=url, bytes=1234567))
    for said in (url, "1,234,567 bytes", str(folder / "model.pt"), "refused"):
        assert said in str(caught.value)


def test_a_full_disk_is_an_error_that_says_so(server: Server, folder: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no device that is always full on this system")
    folder.mkdir()
    (folder / "model.pt.part").symlink_to(full)
    with pytest.raises(BenchError, match=r"cannot write '.*part' \(No space left on device\)"):
        fetch(card(server))


def test_a_model_without_an_address_says_so() -> None:
    with pytest.raises(BenchError, match="there is no address to fetch it from"):
        fetch(ModelCard("toy", None, "paper", "x:y", "model.pt"))
