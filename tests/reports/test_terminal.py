"""The terminal table: whole numbers at any width, on any stream, and reasons where there are none."""

import io
import math
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from protocols.results import Row, TableResult
from reports.dataframe import lines, to_frame
from reports.terminal import PIPE_WIDTH, print_table
from reports.wording import CAUTION, number, plus_minus


def printed(result: TableResult, width: int = 100) -> str:
    stream = io.StringIO()
    print_table(result, Console(file=stream, width=width))
    return stream.getvalue()


def joined(text: str) -> str:
    """Words as one line, however they were wrapped."""
    return " ".join(text.split())


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120])
@pytest.mark.parametrize("name", ["table4", "table5"])
def test_no_number_of_a_wide_table_is_broken_apart(name: str, width: int, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(name)
    text = printed(result, width)
    assert max(map(len, text.splitlines())) <= width
    tokens = text.split()
    for line in lines(to_frame(result)):
        for value in (line.paper, line.measured):
            assert number(value) in tokens or math.isnan(value)


def test_a_data_set_stays_in_one_block_where_it_fits(table4: TableResult) -> None:
    alone = replace(table4, comparisons=())
    assert [printed(alone, width).count("\nCOCO\n") for width in (100, 80, 60)] == [1, 2, 3]


def test_intervals_are_whole_where_there_is_room_and_short_where_not(table4: TableResult) -> None:
    assert "76.9 [76.5, 77.4]" in printed(table4, 160)
    assert "76.9 ±0.5" in printed(table4, 100)


def test_a_line_shows_paper_measured_and_difference(table4: TableResult) -> None:
    line = next(x for x in printed(table4).splitlines() if x.startswith("EfficientSAM-S "))
    assert joined(line).startswith("EfficientSAM-S 76.9 78.2 ±0.5 +1.3* 50.0 49.9 ±0.5 -0.1")


def test_the_title_says_scale_world_and_that_nothing_is_comparable(micro4: TableResult) -> None:
    text = joined(printed(micro4, 80))
    assert f"micro scale, preset paper: {micro4.world}" in text
    assert CAUTION in text


def test_the_difference_column_holds_dots_where_not_comparable(micro4: TableResult) -> None:
    text = printed(replace(micro4, comparisons=()))
    assert "65.9 ±0.5     ·" in text
    assert not re.search(r"[+-]\d+\.\d", text)


def test_missing_cells_say_why(table5: TableResult, table4: TableResult) -> None:
    assert "copied  ViTDet-H; FastSAM: the paper took this row from the SAM paper" in printed(table5)
    assert "no data  SAM (LVIS): put LVIS v1 val under $BENCH_DATA/lvis" in printed(table4)


def test_a_missing_cell_without_a_reason_gets_the_meaning_of_its_status(
    with_cell: Callable[..., TableResult],
) -> None:
    text = printed(with_cell("SAM", "coco_box", status="not requested", measured=None, why=""))
    assert "–  SAM (COCO box): not asked for in this run" in text


def test_comparisons_show_both_differences_and_the_verdict(table4: TableResult) -> None:
    text = joined(printed(table4))
    assert "SAM - EfficientSAM-S +1.5 -1.3 ±0.8 ✗ +5.6 +4.7 ±0.8 ✓ +4.3 +5.3 ±0.8 ✓" in text
    assert "EfficientSAM-Ti - SAM-MAE-Ti +1.0 – +2.2 – +1.4 –" in text
    assert "✓ same order as in the paper: 10; ✗ opposite order: 1; ~ not decided: 3; – not measured: 10" in text


def test_notes_have_letters_and_the_command_is_there(table4: TableResult) -> None:
    text = printed(table4)
    assert "floor (a)" in text
    assert "(a) the box filled, or a disc around the click" in text
    assert "again: python -m bench table4 --scale paper" in text


def test_an_interval_with_unknown_ends_prints_a_question_mark(with_cell: Callable[..., TableResult]) -> None:
    result = with_cell("SAM", "coco_box", low=math.nan)
    assert plus_minus(0.769, math.nan, 0.774) == "±?"
    assert "76.9 ±?" in printed(result)
    assert "nan" not in printed(result, 160).lower()


def test_labels_are_text_and_not_markup(table4: TableResult) -> None:
    hostile = "[red]SAM[/red]"
    rows = (replace(table4.rows[0], label=hostile), *table4.rows[1:])
    cells = tuple(replace(cell, row=hostile) if cell.row == "SAM" else cell for cell in table4.cells)
    assert hostile in printed(replace(table4, rows=rows, cells=cells), 160)


def test_without_a_terminal_the_table_is_a_hundred_wide(
    table4: TableResult, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    print_table(table4)
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert text == printed(table4, PIPE_WIDTH)


@pytest.mark.parametrize("encoding, interval", [("ascii", "76.9 +/-0.5"), ("latin-1", "76.9 ±0.5")])
def test_a_stream_without_unicode_still_gets_the_table(table4: TableResult, encoding: str, interval: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    strange = Row("Ω-SAM", None, "extra")
    cells = tuple(replace(cell, row=strange.label) for cell in table4.cells if cell.row == "SAM")
    result = replace(table4, rows=(*table4.rows, strange), cells=table4.cells + cells)
    print_table(result, Console(file=stream, width=100))
    stream.seek(0)
    text = stream.read()
    assert interval in text
    assert "?-SAM" in text


def test_a_run_without_rows_or_columns_is_shown_as_such(table4: TableResult) -> None:
    for nothing in (replace(table4, rows=(), cells=()), replace(table4, columns=(), cells=())):
        file = io.StringIO()
        print_table(nothing, Console(file=file, width=100))
        assert "This run holds no numbers" in file.getvalue()
