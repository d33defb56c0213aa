"""What runs code as it is read is read if it is the published file or the user vouches for it: for the bytes."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.__main__ import main
from models import zoo
from models.cards import ModelCard
from models.errors import BenchError
from models.files.hashes import hash_file
from models.files.trust import trusted_copy, vouched_for
from tests.models.hostile import KINDS, hostile

CARD = ModelCard("toy", None, "paper", "x:y", "toy.pt", sha256="0" * 64, runs_code=True)
needs_ultralytics = pytest.mark.skipif(
    importlib.util.find_spec("ultralytics") is None, reason="the extra `fastsam` is not installed"
)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.weights"
    torch.save({"a": torch.ones(2)}, path)
    return path


def test_the_published_file_needs_no_trust(mine: Path) -> None:
    with trusted_copy(mine, replace(CARD, sha256=hash_file(mine))) as copy:
        assert copy.read_bytes() == mine.read_bytes()
        assert copy.suffix == ".pt"
    assert not copy.exists()


@pytest.mark.parametrize("sha256", ["0" * 64, None])
def test_another_file_is_refused_until_it_is_vouched_for(mine: Path, sha256: str | None) -> None:
    card = replace(CARD, sha256=sha256)
    with (
        pytest.raises(BenchError, match=rf"asks to run code.*sha256 {hash_file(mine)}.*add --trust {mine}"),
        trusted_copy(mine, card),
    ):
        raise AssertionError
    with trusted_copy(mine, card, vouched_for([mine])) as copy:
        assert copy.read_bytes() == mine.read_bytes()


def test_trust_in_one_file_is_none_in_another(mine: Path, tmp_path: Path) -> None:
    torch.save({"b": torch.ones(3)}, tmp_path / "other.pt")
    with (
        pytest.raises(BenchError, match="asks to run code"),
        trusted_copy(mine, CARD, vouched_for([tmp_path / "other.pt"])),
    ):
        raise AssertionError


def test_a_file_swapped_after_it_was_vouched_for_is_refused(mine: Path) -> None:
    trusted = vouched_for([mine])
    mine.write_bytes(mine.read_bytes() + b"\0")
    with pytest.raises(BenchError, match="asks to run code"), trusted_copy(mine, CARD, trusted):
        raise AssertionError


def test_what_is_read_are_the_bytes_that_were_checked(mine: Path) -> None:
    before = mine.read_bytes()
    with trusted_copy(mine, CARD, vouched_for([mine])) as copy:
        mine.write_bytes(b"swapped while it is open")
        assert copy.read_bytes() == before


def test_vouching_for_an_absent_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"--trust '.*absent\.pt' cannot be read \(No such file"):
        vouched_for([tmp_path / "absent.pt"])


@needs_ultralytics
@pytest.mark.parametrize("name", ["fastsam-x", "fastsam-s"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fastsam_that_nobody_vouched_for_is_not_opened(tmp_path: Path, name: str, kind: str) -> None:
    trace = tmp_path / "ran"
    evil, asks = hostile(trace)[kind]
    torch.save({"model": evil}, tmp_path / "FastSAM.pt")
    with pytest.raises(BenchError, match=rf"asks to run code as it is read \({asks}"):
        zoo.load(name, checkpoint=tmp_path / "FastSAM.pt")
    assert not trace.exists()


@needs_ultralytics
def test_a_file_in_the_place_of_one_without_a_published_hash_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    evil, _ = hostile(tmp_path / "ran")["system"]
    torch.save({"model": evil}, tmp_path / "FastSAM-s.pt")
    usable, why = zoo.available("fastsam-s")
    assert not usable
    assert "--trust" in why
    with pytest.raises(BenchError, match=r"posix\.system.*has no published hash"):
        zoo.load("fastsam-s")
    assert not (tmp_path / "ran").exists()


@needs_ultralytics
def test_a_web_page_in_the_place_of_fastsam_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text("<!doctype html><html>quota exceeded</html>")
    with pytest.raises(BenchError, match="is a web page instead of a checkpoint"):
        zoo.load("fastsam-s", checkpoint=tmp_path / "x.pt")


def test_the_command_line_trusts_each_file_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, ...]] = []

    def note(files: tuple[Path, ...]) -> frozenset[str]:
        asked.append(tuple(files))
        raise BenchError("enough")

    monkeypatch.setattr("bench.cli.run.vouched_for", note)
    command = ["bench", "run", "table5", "--scale", "micro", "--trust", "a.pt", "--trust", "b.pt"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit):
        main()
    assert asked == [(Path("a.pt"), Path("b.pt"))]
