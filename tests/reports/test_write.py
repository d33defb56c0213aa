"""Files of a report: whole or not there, and holding what was measured to the last bit."""

import io
import json
import math
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from models.errors import BenchError, printable
from protocols.results import TableResult
from reports import write
from reports.dataframe import to_frame
from reports.plot import Pictures
from reports.terminal import print_table
from reports.write import KINDS, check_folder, write_report
from tests.other_user import without_rights


@pytest.fixture(autouse=True)
def quick_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures cost a second each and have tests of their own: most tests here do without."""
    if request.node.name != "test_all_files_are_written_into_a_new_folder":
        monkeypatch.setattr(write, "pictures", lambda result, frame: Pictures(b"png" * 200, b"<svg/>"))


def test_all_files_are_written_into_a_new_folder(table4: TableResult, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    paths = write_report(table4, out)
    assert paths == [out / f"table4.{kind}" for kind in KINDS]
    assert sorted(out.iterdir()) == sorted(paths)
    assert all(path.stat().st_size > 500 for path in paths)


def test_csv_gives_the_frame_back_bit_for_bit(table5: TableResult, tmp_path: Path) -> None:
    write_report(table5, tmp_path)
    back = pd.read_csv(tmp_path / "table5.csv", keep_default_na=False, na_values=NUMBERS)
    pd.testing.assert_frame_equal(back, to_frame(table5), check_exact=True, check_dtype=False)


NUMBERS = {name: "" for name in ("paper", "measured", "low", "high", "difference")}


def test_json_gives_the_result_back(table4: TableResult, tmp_path: Path) -> None:
    write_report(table4, tmp_path)
    text = (tmp_path / "table4.json").read_text(encoding="utf-8")
    assert TableResult.from_json(json.loads(text)) == table4


def test_json_is_strict_whatever_is_in_it(with_cell: Callable[..., TableResult], tmp_path: Path) -> None:
    result = with_cell("SAM", "coco_box", low=math.nan, high=math.inf, measured=np.float32(0.5))
    result = replace(result, provenance={"path": Path("x"), "n": np.int64(3), "shape": np.arange(2)})
    write_report(result, tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads((tmp_path / "table4.json").read_text(encoding="utf-8"), parse_constant=refuse)
    cell = TableResult.from_json(data).cell("SAM", "coco_box")
    assert (cell.measured, cell.low, cell.high) == (0.5, None, None)
    assert data["provenance"] == {"path": "x", "n": 3, "shape": [0, 1]}


def test_every_file_says_the_scale(micro4: TableResult, tmp_path: Path) -> None:
    for path in write_report(micro4, tmp_path):
        assert path.suffix == ".png" or "micro" in path.read_text(encoding="utf-8")


def test_writing_again_replaces_and_gives_the_same_bytes(micro4: TableResult, tmp_path: Path) -> None:
    first = {path: path.read_bytes() for path in write_report(micro4, tmp_path)}
    assert {path: path.read_bytes() for path in write_report(micro4, tmp_path)} == first


def test_files_have_the_rights_of_the_users_umask(table4: TableResult, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        paths = write_report(table4, tmp_path)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o644}


def test_a_failing_disk_leaves_the_old_file_and_no_rubbish(
    table4: TableResult, micro4: TableResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(table4, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BenchError, match="No space left on device"):
        write_report(micro4, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_where_the_folder_should_be_is_a_clear_error(table4: TableResult, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    for out in (tmp_path / "out", tmp_path / "out" / "deeper"):
        with pytest.raises(BenchError, match=r"cannot write the report to '.*out.*: choose another folder"):
            write_report(table4, out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_a_clear_error(table4: TableResult, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BenchError, match="Permission denied"):
        write_report(table4, tmp_path)


@pytest.mark.parametrize("name", ["../table4", "a/b", "", ".hidden"])
def test_a_name_that_is_no_file_name_is_refused(table4: TableResult, tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchError, match="cannot be a file name"):
        write_report(replace(table4, name=name), tmp_path)


HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "a\nb\r\tc",
    "\u202egpj.mas\u2066",
    "\x9b31m",
    "\ud800\udc80",
    "\x00\x7f\ufeff\u2028",
    "$\\frac{$",
    "[bold]x[/] [/nothing]",
    "<script>alert(1)</script>|`*_#",
    "=1+1",
    "日本語 é",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_any_characters_are_text_in_every_form(table4: TableResult, tmp_path: Path, name: str) -> None:
    rows = tuple(
        replace(row, label=f"{row.label} {name}", model=name, note=name) if row.label == "SAM" else row
        for row in table4.rows
    )
    cells = tuple(replace(cell, row=f"SAM {name}", why=name) if cell.row == "SAM" else cell for cell in table4.cells)
    provenance = {"argv": ["run", name], name: {name: Path(f"a{name}")}}
    result = replace(
        table4,
        rows=rows,
        cells=cells,
        world=name,
        title=f"Table {name}",
        footnotes=(name,),
        command=f"bench run --out {name}",
        provenance=provenance,
        comparisons=(),
    )
    stream = io.StringIO()
    print_table(result, Console(file=stream, width=200))
    texts = {path.suffix: path.read_text("utf-8") for path in write_report(result, tmp_path) if path.suffix != ".png"}
    shown = printable(name)
    for text in (*texts.values(), stream.getvalue()):
        assert printable(text.replace("\n", "")) == text.replace("\n", "")
    assert json.loads(texts[".json"])["rows"][0]["label"] == f"SAM {shown}"
    assert f"SAM {shown}" in pd.read_csv(tmp_path / "table4.csv")["row"].tolist()
    assert f"SAM {shown}" in stream.getvalue()
    assert "<script>" not in texts[".html"]


class TestBeforeTheWork:
    def test_a_folder_that_can_be_made_is_not_made_yet(self, tmp_path: Path) -> None:
        check_folder(tmp_path / "a" / "b")
        check_folder(tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("place", ["file", "file/deeper", "file/deeper/still"])
    def test_a_file_in_the_way_is_found(self, tmp_path: Path, place: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(BenchError, match=r"cannot write the report to .*file is a file.*choose another folder"):
            check_folder(tmp_path / place)

    def test_a_folder_of_somebody_else_is_found(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            Path(name).chmod(0o755)
            theirs = Path(name, "theirs")
            theirs.mkdir()
            with without_rights(theirs):
                for place in (theirs, theirs / "a"):
                    with pytest.raises(BenchError, match="cannot write the report to"):
                        check_folder(place)
