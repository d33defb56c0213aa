"""`bench claims` as typed: the ledger without results and with some, as JSON and Markdown, and its exit codes."""

import json
import sys

import pytest

from bench import __main__ as front_door
from protocols.results import Cell, Column, Comparison, Row, TableResult


@pytest.fixture
def typed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "claims", *arguments])
        try:
            front_door.main()
            code = 0
        except SystemExit as leave:
            code = int(leave.code or 0)
        return code, *capfd.readouterr()

    return run


def write(folder, value, name="table4", date="2026-01-01", **more):
    cells = tuple(Cell(row, "coco_box", "measured", None, 0.7, 0.6, 0.8, 9) for row in ("EfficientSAM-Ti", "MobileSAM"))
    one = Comparison("EfficientSAM-Ti", "MobileSAM", "coco_box", 0.015, value, value - 0.01, value + 0.01, "same order")
    columns, rows = (Column("coco_box", "box", "COCO"),), (Row("EfficientSAM-Ti", "a"), Row("MobileSAM", "b"))
    result = TableResult(
        name,
        "",
        "micro",
        "dead leaves",
        False,
        "paper",
        columns,
        rows,
        cells,
        (one,),
        provenance={"date": date},
        **more,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result.to_json()))


def outcomes(printed):
    return {one["claim"]["id"]: one["outcome"] for one in json.loads(printed)}


def test_without_results_the_paper_s_own_contradictions_are_shown(typed):
    code, printed, _ = typed()
    assert code == 0
    assert "text 1.1, table 0.4" in printed
    assert "39 claims" in printed
    assert "not measured 39" in printed


def test_results_of_the_usual_folder_are_judged_and_a_damaged_file_is_named(typed, tmp_path):
    write(tmp_path / "reports/out", 0.02)
    (tmp_path / "reports/out/table5.json").write_text("{")
    code, printed, said = typed("--json")
    assert code == 0
    assert outcomes(printed)["ti-vs-mobilesam-box"] == "holds"
    assert "is left out" in said


def test_the_newest_result_counts(typed, tmp_path):
    write(tmp_path / "new", -0.02, date="2026-02-02")
    write(tmp_path / "old", 0.02, date="2026-01-01")
    _, printed, _ = typed("--results", "new", "old/table4.json", "--json")
    assert outcomes(printed)["ti-vs-mobilesam-box"] == "contradicted"


def test_a_script_can_be_told_of_contradictions_by_the_exit_code(typed, tmp_path):
    write(tmp_path / "reports/out", -0.02)
    assert typed()[0] == 0
    code, printed, _ = typed("--fail-on", "contradicted", "--only", "contradicted")
    assert code == 1
    assert "ti-vs-mobilesam-box" in printed
    assert "1 claims" in printed
    write(tmp_path / "reports/out", 0.02)
    assert typed("--fail-on", "contradicted")[0] == 0


def test_markdown_is_a_table_of_every_claim(typed):
    _, printed, _ = typed("--markdown")
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 39
    assert {line.count("|") for line in lines} == {7}


@pytest.mark.parametrize(
    ("given", "said"), [("nowhere", "no report or folder 'nowhere'"), ("bad.json", "'bad.json' cannot be used")]
)
def test_a_file_that_is_no_report_gets_a_sentence(typed, tmp_path, given, said):
    (tmp_path / "bad.json").write_text("[]")
    code, _, err = typed("--results", given)
    assert code != 0
    assert said in " ".join(err.split())
