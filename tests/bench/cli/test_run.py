"""`bench run`: what was measured is not lost where its report cannot be written."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import makers, run
from bench.cli.makers import Options
from models.errors import BenchError


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """Tables that are made at once; returns what they were asked for."""
    asked: list[Options] = []
    table = replace(makers.MAKERS["table4"], make=lambda options: asked.append(options) or "a result")  # type: ignore[arg-type]
    monkeypatch.setattr(run, "MAKERS", {"table4": table})
    monkeypatch.setattr(run, "print_table", lambda result: None)
    return asked


def test_where_no_report_can_go_nothing_is_asked(made: list[Options], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match=r"cannot write the report to .*is a file"):
        run.run("table4", out=tmp_path / "file")
    assert made == []


def test_a_report_that_fails_says_where_the_records_are_and_how_to_go_on(
    made: list[Options], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(result: object, out: Path) -> None:
        raise BenchError("cannot write the report to 'out' (No space left on device): choose another folder")

    monkeypatch.setattr(run, "write_report", full)
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "records"))
    with pytest.raises(BenchError) as told:
        run.run("table4", out=tmp_path / "out")
    assert "No space left on device" in str(told.value)
    assert f"--out FOLDER, makes it again (what was measured is kept in {tmp_path}/records)" in str(told.value)
    assert len(made) == 1


def test_a_process_that_does_not_report_says_so(
    made: list[Options], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "make", lambda *_: None)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run.run("table4", out=tmp_path)
    assert capsys.readouterr().err == "table4: process 1 of 2 is done; the first one writes the report\n"


@pytest.mark.parametrize("path", ["~nosuchuser/w.pt", "~nosuchuser"])
def test_a_checkpoint_of_nobody_is_a_sentence(path: str) -> None:
    with pytest.raises(BenchError, match=f"--checkpoint sam is '{path}', but this machine knows no such home"):
        makers._checkpoints((f"sam={path}",))
