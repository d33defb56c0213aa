"""How tables are found by their names, and what each of them says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.list import list_all
from models.errors import BenchError
from models.plugins import installed
from protocols import defaults, tables


@pytest.mark.parametrize("value", ["nowhere.halves", "json", "json:loads"])
def test_an_added_table_that_cannot_be_had_is_a_sentence_and_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{tables.GROUP}]\nhalves = {value}\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    with pytest.raises(BenchError, match=rf"the entry point 'halves = {value}' of group"):
        tables.find("halves")
    assert tables.find("table4").NAME == "table4"
    list_all()
    assert f"halves = {value}" in capsys.readouterr().out
    installed.cache_clear()


def test_nobody_replaces_a_table_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{tables.GROUP}]\ntable4 = json\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    assert tables.find("table4").__name__ == "protocols.table4"
    assert tables.names().count("table4") == 1
    installed.cache_clear()


def test_every_table_has_what_the_contract_asks_for() -> None:
    asked = {name for name in (*tables.Table.__annotations__, *vars(tables.Table)) if not name.startswith("_")}
    always = {"NAME", "TITLE", "TAKES", "COLUMNS"}
    for name in tables.names():
        table = tables.find(name)
        needed = (
            always
            if hasattr(table, "make")
            else asked - set(vars(defaults)) - {"PHOTOS", "make", "over_trainings", "resampled"}
        )
        assert {attribute for attribute in needed if not hasattr(table, attribute)} == set(), name


def test_tables_come_in_the_order_of_the_paper() -> None:
    assert tables.names()[:7] == [f"table{number}" for number in range(1, 8)]
