import json
import shutil

import pandas as pd
import pytest

from bench.cli import regression as cli
from bench.cli.commands import dispatch
from models.errors import BenchError
from protocols.regression import snapshots


@pytest.fixture
def expected(tmp_path, monkeypatch):
    """A copy of the committed expectations that commands read and write."""
    folder = tmp_path / "expected"
    shutil.copytree(snapshots.EXPECTED, folder)
    monkeypatch.setattr(cli, "EXPECTED", folder)
    monkeypatch.setattr(cli, "DIFFERENCES", folder / "differences.csv")
    return folder


def shift(folder, table, by):
    """Let another mean be expected of every cell of a table."""
    cells = pd.read_csv(folder / "cells.csv")
    cells.loc[cells["table"] == table, "value"] += by
    cells.to_csv(folder / "cells.csv", index=False)


def test_tables_from_committed_records_give_what_is_expected(expected, tmp_path, capsys):
    dispatch(["regression", "table6", "table7", "--markdown", str(tmp_path / "summary.md")])
    assert "0 drifted" in capsys.readouterr().out
    assert "nothing drifted" in (tmp_path / "summary.md").read_text()


def test_drift_ends_with_an_error_and_says_what_by_how_much_and_why_that_is_too_much(expected, tmp_path, capsys):
    shift(expected, "table6", 0.02)
    cells = pd.read_csv(expected / "cells.csv")["table"].value_counts()
    with pytest.raises(BenchError, match=f"{cells['table6']} of {cells['table6'] + cells['table7']} comparisons"):
        dispatch(["regression", "table6", "table7", "--markdown", str(tmp_path / "summary.md")])
    for text in (capsys.readouterr().out, (tmp_path / "summary.md").read_text()):
        assert "-2.00" in text
        assert "half a printed digit" in text


def test_json_has_every_comparison(expected, capsys):
    dispatch(["regression", "table7", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {one["table"] for one in found} == {"table7"}
    assert not any(one["drifted"] for one in found)


def test_an_update_is_expected_from_then_on_and_in_the_history(expected):
    shift(expected, "table6", 0.02)
    dispatch(["regression", "update", "table6", "--reason", "trained longer"])
    dispatch(["regression", "table6"])
    (*_, last) = (expected / "history.jsonl").read_text().splitlines()
    assert json.loads(last)["reason"] == "trained longer"
    assert json.loads(last)["moved"]


def test_measured_differences_replace_those_of_the_same_condition_and_tables(expected, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        cli,
        "_make_under",
        lambda condition, names, out: (made.append(condition), snapshots.write_snapshot(_some(condition), out)),
    )
    dispatch(["regression", "measure", "table6", "--only", "2 threads", "--keep", str(tmp_path / "kept")])
    dispatch(["regression", "measure", "table6", "--only", "2 threads", "--keep", str(tmp_path / "kept")])
    assert made == ["usual", "2 threads"]
    found = pd.read_csv(expected / "differences.csv").set_index(["condition", "table", "column", "level"])
    assert found.loc[("2 threads", "table6", "top1", "mean"), "difference"] == pytest.approx(0.25)


def _some(condition):
    cells = pd.DataFrame({"table": "table6", "row": "a", "column": "top1", "value": [0.5], "percent": True, "why": ""})
    return snapshots.Snapshot(cells.assign(value=0.5 if condition == "usual" else 0.75))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "fast"], "fast engine"),
        (["table8"], "unknown table"),
        (["table4", "--baseline", "abc"], "leave the names"),
        (["update", "--reason", " "], "say in a sentence"),
        (["measure", "--only", "3 threads"], "there is no condition"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(arguments, words):
    with pytest.raises(BenchError, match=words):
        dispatch(["regression", *arguments])
