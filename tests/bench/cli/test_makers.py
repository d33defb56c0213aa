"""What `bench run` makes, and which options mean something to what."""

import re
from pathlib import Path

import pytest

from bench.cli import makers, run
from bench.cli.makers import MAKERS, Options, make
from bench.training.all import trainings_of
from models.errors import BenchError
from protocols import ablations, figure7
from tests.protocols.training_fakes import answers, write_record

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def records(tmp_path, monkeypatch):
    """A folder of records in place of the committed ones."""
    for module, name in ((ablations, "make_ablation"), (figure7, "make_figure")):
        original = getattr(module, name)
        place = makers if name == "make_ablation" else figure7
        monkeypatch.setattr(place, name, lambda *a, _make=original, **k: _make(*a, folder=tmp_path, **k))
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
        make(table, MAKERS[table], Options(**options))


@pytest.mark.parametrize("table", ["table6", "table7", "ablations", "figure7"])
def test_tables_of_records_are_written_in_every_form_even_before_anything_is_trained(table, records, tmp_path, capsys):
    write_record(records, "sami-ti", 0, answers(0.6, 1))
    run.run(table, out=tmp_path / "out")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".json", ".md", ".tex", ".png", ".html"}
    assert "untrained" in capsys.readouterr().out


@pytest.mark.parametrize(("table", "of"), [("table7", "table7"), ("ablations", "table6")])
def test_train_first_trains_then_makes_the_table(records, tmp_path, monkeypatch, table, of):
    trained = []
    monkeypatch.setattr("bench.training.all.train_table", trained.append)
    run.run(table, out=tmp_path / "out", train=True)
    assert trained == [of]
    assert (tmp_path / f"out/{table}.json").is_file()


def test_everything_that_can_be_run_can_be_trained():
    assert all(trainings_of(maker.trained_with or table) for table, maker in MAKERS.items())


def test_everything_that_can_be_run_has_a_session():
    text = (ROOT / "noxfile.py").read_text()
    for table in MAKERS:
        assert re.search(rf'^    "{table}": ', text, re.MULTILINE)
