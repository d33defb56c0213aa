"""`bench run`: what was measured is not lost where its report cannot be written."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.cli import run
from bench.processes import this_process
from bench.training.all import trainings_of
from models.errors import BenchError
from protocols import tables
from protocols.settings import Settings
from tests.protocols.training_fakes import answers, write_record


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """A table that is made at once; returns how it was asked for."""
    asked: list[Settings] = []

    def make(table: object, settings: Settings) -> SimpleNamespace | None:
        asked.append(settings)
        return SimpleNamespace(name="table4", stem="table4", command="") if this_process().is_first else None

    table = SimpleNamespace(NAME="table4", TAKES=frozenset({"limit"}), make=make)
    monkeypatch.setattr(tables, "find", lambda name: table)
    monkeypatch.setattr(run, "print_table", lambda result: None)
    return asked


def test_where_no_report_can_go_nothing_is_asked(made: list[Settings], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BenchError, match=r"cannot write the report to .*is a file"):
        run.run(("table4",), out=tmp_path / "file")
    assert made == []


def test_a_report_that_fails_says_where_the_records_are_and_how_to_go_on(
    made: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(result: object, out: Path) -> None:
        raise BenchError("cannot write the report to 'out' (No space left on device): choose another folder")

    monkeypatch.setattr(run, "write_report", full)
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "records"))
    with pytest.raises(BenchError) as told:
        run.run(("table4",), out=tmp_path / "out")
    assert "No space left on device" in str(told.value)
    assert f"--out FOLDER, makes it again (what was measured is kept in {tmp_path}/records)" in str(told.value)
    assert len(made) == 1


def test_a_process_that_does_not_report_says_so(
    made: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run.run(("table4",), out=tmp_path)
    assert capsys.readouterr().err == "table4: process 1 of 2 is done; the first one writes the report\n"


@pytest.mark.parametrize("path", ["~nosuchuser/w.pt", "~nosuchuser"])
def test_a_checkpoint_of_nobody_is_a_sentence(path: str) -> None:
    with pytest.raises(BenchError, match=f"--checkpoint sam is '{path}', but this machine knows no such home"):
        run.checkpoints_of((f"sam={path}",))


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of records in place of the committed ones."""
    settings = run.run_settings
    monkeypatch.setattr(run, "run_settings", lambda *given: replace(settings(*given), records=tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("table", "options", "sentence"),
    [
        ("table6", {"models": ("sam",)}, "--models means nothing to table6: it takes --scale"),
        ("figure7", {"limit": 3}, "--limit means nothing to figure7"),
        ("figure7", {"scale": "paper"}, "no finetuning at paper scale"),
        ("table1", {"preset": "tinysam"}, "--preset means nothing to table1"),
        ("table1", {"limit": 0}, "--limit must be at least 1"),
    ],
)
def test_options_that_mean_nothing_to_a_table_are_refused(table, options, sentence):
    with pytest.raises(BenchError, match=sentence):
        run.run((table,), **options)


@pytest.mark.parametrize("table", ["table6", "table7", "ablations", "figure7"])
def test_tables_of_records_are_written_in_every_form_even_before_anything_is_trained(table, records, tmp_path, capsys):
    write_record(records, "sami-ti", 0, answers(0.6, 1))
    run.run((table,), out=tmp_path / "out")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".json", ".md", ".tex", ".png", ".html"}
    assert "untrained" in capsys.readouterr().out


@pytest.mark.parametrize(("table", "of"), [("table7", "table7"), ("ablations", "table6")])
def test_train_first_trains_then_makes_the_table(records, tmp_path, monkeypatch, table, of):
    trained = []
    monkeypatch.setattr("bench.training.all.train_table", trained.append)
    run.run((table,), out=tmp_path / "out", train=True)
    assert trained == [of]
    assert (tmp_path / f"out/{table}.json").is_file()


def test_everything_that_can_be_run_but_timings_can_be_trained():
    timed = {"table8"}
    names = {name for name in tables.names() if trainings_of(getattr(tables.find(name), "TRAINED_WITH", name))}
    assert names == set(tables.names()) - timed


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        ("table4", {"data": "yolo:a.json,b"}, "unknown format of annotations 'yolo'"),
        ("table4", {"data": "coco:a.json,b"}, r"there is no annotation file 'a\.json'"),
        ("table5", {"boxes": Path("boxes.json")}, "--boxes is a file about data of your own: give --data too"),
        ("table4", {"boxes": Path("boxes.json"), "data": "coco:a.json,b"}, "--boxes means nothing to table4"),
        ("table2", {"data": "coco:a.json,b"}, "--data means nothing to table2"),
    ],
)
def test_data_of_ones_own_that_cannot_be_are_said_before_anything_is_asked(
    table: str, options: dict, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=said):
        run.run((table,), out=tmp_path, **options)


def test_boxes_that_are_not_there_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(BenchError, match=r"there is no file of boxes '.*boxes\.json': check the path"):
        run.run(("table5",), data=f"coco:{tmp_path}/a.json,{tmp_path}", boxes=tmp_path / "boxes.json", out=tmp_path)
