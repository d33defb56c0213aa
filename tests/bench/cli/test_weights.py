"""`bench weights`: what is printed about checkpoints that are here, missing or damaged."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli.weights import fetch_weights, list_weights, verify_weights
from models import zoo
from models.errors import BenchError

CONTENT = b"weights"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder, and a zoo of two models that have their files there."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    digest = hashlib.sha256(CONTENT).hexdigest()
    ti = replace(zoo.card("efficientsam-ti"), bytes=len(CONTENT), sha256=digest)
    monkeypatch.setattr(zoo, "CARDS", (ti, replace(ti, name="second", filename="second.pt")))
    return tmp_path


def test_the_list_says_of_each_model_whether_it_is_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "second.pt").write_bytes(CONTENT)
    list_weights()
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert "no" in lines["efficientsam-ti"]
    assert "yes" in lines["second"]


def test_the_list_says_what_is_wrong_with_a_damaged_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "second.pt").write_bytes(CONTENT[:3])
    list_weights()
    assert "it has 3 of 7 bytes" in capsys.readouterr().out


def test_verification_names_every_bad_file_after_checking_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "efficient_sam_vitt.pt").write_bytes(b"changed")
    (folder / "second.pt").write_bytes(CONTENT)
    with pytest.raises(BenchError, match=r"efficient_sam_vitt\.pt' is not the published checkpoint"):
        verify_weights()
    assert "ok second" in capsys.readouterr().out


def test_verification_of_what_is_here_ignores_what_is_not(folder: Path) -> None:
    (folder / "second.pt").write_bytes(CONTENT)
    verify_weights()
    with pytest.raises(BenchError, match="bench weights fetch efficientsam-ti"):
        verify_weights(["efficientsam-ti"])


def test_fetching_nothing_says_what_to_name() -> None:
    with pytest.raises(BenchError, match="name the models to fetch"):
        fetch_weights([])


def test_fetching_what_is_here_returns_where_it_is(folder: Path) -> None:
    (folder / "second.pt").write_bytes(CONTENT)
    assert fetch_weights(["second"]) == [folder / "second.pt"]
