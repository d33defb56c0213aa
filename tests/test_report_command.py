"""`bench report` as a user types it: chosen files and runs, what is refused, and what is said of the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli import report as command
from bench.cli.report import report
from models.errors import BenchError
from protocols.results import TableResult
from reports import paper_report
from tests.reports.conftest import make_table
from tests.reports.test_paper_report import quick_drawings

__all__ = ["quick_drawings"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    return tmp_path


def save(result: TableResult, path: Path, **changes: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**result.to_json(), **changes}))
    return path


@pytest.fixture
def ask() -> Callable[..., dict[str, Any]]:
    """Make a report without pictures and PDF, and return its JSON."""

    def asked(**options: Any) -> dict[str, Any]:
        report(pictures=False, pdf=False, out=Path("paper"), **options)
        return json.loads(Path("paper/report.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]

    return asked


def names(whole: dict[str, Any]) -> list[str]:
    return [one["name"] for one in whole["results"]]


def test_all_tables_of_the_paper_are_there_made_or_not(place: Path, ask: Callable[..., dict[str, Any]]) -> None:
    save(make_table("table4"), place / "reports/out/table4.json")
    whole = ask()
    assert set(command.PAPERS) <= set(names(whole))
    assert names(whole)[:8] == [f"table{number}" for number in range(1, 9)]
    (coverage,) = [one for one in whole["tables"]["coverage"] if "Table 4" in one[""]]
    assert int(coverage["measured"]) > 0
    assert any("bench run table5" in one["why"] for one in whole["tables"]["reasons"])
    assert len(whole["tables"]["claims"]) > 10


def test_chosen_files_and_folders_alone_make_a_report(place: Path, ask: Callable[..., dict[str, Any]]) -> None:
    save(make_table("table4"), place / "a/table4.json")
    save(make_table("table4", comparable=False), place / "b/table4.json")
    save(make_table("table5"), place / "b/table5.json")
    assert names(ask(runs=("a/table4.json", "b"))) == ["table4", "table4", "table5"]
    assert names(ask(runs=("a/table4.json", "b"), names=("table5",))) == ["table5"]


def test_a_run_of_the_store_gives_the_rows_that_rest_on_it(
    place: Path, ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {"SAM on coco": "aaaa", "SAM on lvis": "bbbb", "MobileSAM on coco": "cccc"}
    save(replace(make_table("table4"), provenance={"runs": runs}), place / "reports/out/table4.json")
    monkeypatch.setattr(command, "find_run", lambda name: type("Run", (), {"fingerprint": name}))
    whole = ask(runs=("aaaa",))
    assert names(whole) == ["table4"]
    assert [row["label"] for row in whole["results"][0]["rows"]] == ["SAM", "floor", "ceiling"]
    with pytest.raises(BenchError, match="no result in 'reports/out' rests on the runs"):
        ask(runs=("dddd",))


def test_a_file_of_another_version_is_refused_by_name_and_told_where_it_lay_among_others(
    place: Path, ask: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    old = save(make_table("table4"), place / "reports/out/table4.json", cells=[{"row": "SAM", "mean": 0.5}])
    with pytest.raises(BenchError, match=r"table4.json' cannot be shown: it is no report of this version"):
        ask(runs=(str(old),))
    save(make_table("table5"), place / "reports/out/table5.json")
    whole = ask()
    assert "table4.json is left out" in capsys.readouterr().err
    assert "table4.json is left out" in (place / "paper/report.md").read_text(encoding="utf-8")
    assert {cell["status"] for cell in whole["results"][3]["cells"]} == {"not requested"}


HOSTILE = ("<img src=x onerror=alert(1)>", r"\input{/etc/passwd}", '=cmd|"/C calc"!A1', "\x1b[2J\u202e")
OF_OTHER_VERSIONS = (
    {"provenance": {"hardware": {"gpus": 5}, "axes": {"clicks": [1.5]}}},
    {"provenance": {"axes": {"an_axis_of_old": 1}}},
    {"cells": []},
    {"format": 0},
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_of_hostile_names_is_shown_as_text_in_every_format(
    place: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("typst")
    table = make_table("table4")
    hostile = replace(table, name=name, title=name, scale=name, preset=name, world=name, row_head=name, command=name)
    save(hostile, place / "evil.json")
    report(runs=("evil.json",), pictures=False, out=Path("paper"))
    said = capsys.readouterr()
    whole = {path: path.read_text(encoding="utf-8") for path in place.joinpath("paper").rglob("*.*") if _is_text(path)}
    assert {path.suffix for path in whole} == {".html", ".typ", ".md", ".tex", ".csv", ".json", ".svg"}
    assert (place / "paper/report.pdf").read_bytes().startswith(b"%PDF-")
    for text in (*whole.values(), said.out, said.err):
        assert "\x1b" not in text
        assert "\u202e" not in text
    for path, text in whole.items():
        shown = re.sub("(?ms)^```\n.*?^```$", "", text) if path.suffix == ".md" else text
        assert path.suffix in (".typ", ".csv", ".json", ".tex") or "<img src=x" not in shown
        assert path.suffix != ".tex" or not re.search(r"(?m)^[^%\n]*\\input\{/", text)
        assert path.suffix != ".csv" or not re.search(r"(?m)(^|,)\"?=", text)
    assert sorted(path.name for path in place.iterdir()) == ["evil.json", "paper"]


def _is_text(path: Path) -> bool:
    return path.suffix not in (".pdf", ".png")


@pytest.mark.parametrize("change", OF_OTHER_VERSIONS, ids=str)
def test_runs_of_other_versions_are_refused_in_one_sentence(
    place: Path, ask: Callable[..., dict[str, Any]], change: dict[str, Any]
) -> None:
    save(make_table("table4"), place / "old.json", **change)
    with pytest.raises(BenchError, match=r"^'old.json' cannot be shown: "):
        ask(runs=("old.json",))


def test_an_empty_run_is_shown_as_such(place: Path, ask: Callable[..., dict[str, Any]]) -> None:
    save(make_table("table4"), place / "none.json", rows=[], cells=[], comparisons=[])
    ask(runs=("none.json",))
    for name in ("report.md", "report.html", "latex/report.tex", "report.typ"):
        assert "This run holds no numbers" in (place / "paper" / name).read_text(encoding="utf-8")


def test_nothing_to_show_names_the_command_that_makes_something(
    place: Path, ask: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(BenchError, match="bench report --make-missing"):
        ask()
    (place / "empty").mkdir()
    with pytest.raises(BenchError, match="'empty' holds no finished table"):
        ask(runs=("empty",))
    with pytest.raises(BenchError, match="did you mean 'table4'"):
        ask(names=("tabel4",))
    with pytest.raises(BenchError, match="leave it or --runs out"):
        ask(runs=("empty",), make_missing=True)


def test_only_tables_that_are_missing_are_made(
    place: Path, ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(make_table("table4"), place / "reports/out/table4.json")
    made: list[list[str]] = []

    def make(tables: Any, settings: Any) -> list[TableResult]:
        made.append([table.NAME for table in tables])
        assert settings.scale == "micro"
        return [make_table("table5", comparable=False)]

    monkeypatch.setattr(command, "make", make)
    whole = ask(names=("table4", "table5"), make_missing=True)
    assert made == [["table5"]]
    assert names(whole) == ["table4", "table5"]
    ask(names=("table4", "table5"), make_missing=True)
    assert len(made) == 1


def test_drawings_are_made_of_what_was_measured_alone(
    place: Path, ask: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    plot = paper_report.plot_of
    monkeypatch.setattr(paper_report, "plot_of", lambda one: drawn.append(one.key) or plot(one))
    save(make_table("table4"), place / "reports/out/table4.json")
    ask()
    assert drawn == ["table4"]
