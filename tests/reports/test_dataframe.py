"""The frame: one line a cell, and nothing in it that a renderer would have to doubt."""

import math
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from models.errors import BenchError
from protocols.results import TableResult
from reports.dataframe import Gap, Line, gaps, lines, to_frame


def line_of(frame: pd.DataFrame, row: str, column: str) -> Line:
    (line,) = lines(frame[(frame["row"] == row) & (frame["column"] == column)])
    return line


def test_there_is_one_line_a_cell_in_the_order_of_the_paper(table5: TableResult) -> None:
    frame = to_frame(table5)
    expected = [(row.label, column.key) for row in table5.rows for column in table5.columns]
    assert list(zip(frame["row"], frame["column"], strict=True)) == expected


def test_numbers_are_those_of_the_cells_unrounded(table4: TableResult) -> None:
    frame = to_frame(table4)
    for cell in table4.cells:
        line = line_of(frame, cell.row, cell.column)
        for name in ("paper", "measured", "low", "high"):
            value = getattr(cell, name)
            assert getattr(line, name) == value if value is not None else math.isnan(getattr(line, name))


def test_the_difference_is_ours_minus_the_papers(table4: TableResult) -> None:
    line = line_of(to_frame(table4), "SAM", "coco_box")
    assert line.difference == line.measured - 0.784


def test_there_is_no_difference_and_no_outside_where_not_comparable(micro4: TableResult) -> None:
    frame = to_frame(micro4)
    assert frame["difference"].isna().all()
    assert not frame["outside"].any()


def test_the_papers_rounding_is_no_evidence_of_a_difference(with_cell: Callable[..., TableResult]) -> None:
    for low, outside in ((0.7844, False), (0.7846, True)):
        frame = to_frame(with_cell("SAM", "coco_box", measured=0.789, low=low, high=0.793))
        assert line_of(frame, "SAM", "coco_box").outside is outside


def test_an_unknown_interval_is_no_evidence_of_a_difference(with_cell: Callable[..., TableResult]) -> None:
    frame = to_frame(with_cell("SAM", "coco_box", measured=0.9, low=math.nan, high=math.nan))
    assert not line_of(frame, "SAM", "coco_box").outside


def test_numbers_that_print_alike_share_the_best_place(with_cell: Callable[..., TableResult]) -> None:
    frame = to_frame(with_cell("SAM", "coco_box", measured=0.78195))
    best = frame[(frame["column"] == "coco_box") & frame["best"]]
    assert line_of(frame, "EfficientSAM-S", "coco_box").measured != 0.78195
    assert list(best["row"]) == ["SAM", "EfficientSAM-S"]


def test_frames_never_are_the_best(table4: TableResult) -> None:
    frame = to_frame(table4)
    assert frame.loc[frame["row"] == "ceiling", "measured"].min() > frame.loc[frame["best"], "measured"].max()
    assert not frame.loc[frame["kind"] == "bound", "best"].any()


def test_a_column_with_one_competitor_has_no_best(table4: TableResult) -> None:
    alone = replace(table4, rows=tuple(row for row in table4.rows if row.label in {"SAM", "ceiling"}))
    assert not to_frame(alone)["best"].any()


def test_a_column_of_unknown_direction_has_no_best(table4: TableResult) -> None:
    seconds = replace(table4, columns=tuple(replace(column, percent=False) for column in table4.columns))
    assert not to_frame(seconds)["best"].any()


def test_a_missing_cell_is_named(table4: TableResult) -> None:
    with pytest.raises(BenchError, match=r"table4 has no cell for row 'SAM' and column 'coco_box'"):
        to_frame(replace(table4, cells=table4.cells[1:]))


def test_two_rows_of_one_name_are_refused(table4: TableResult) -> None:
    with pytest.raises(BenchError, match="two rows called 'SAM'"):
        to_frame(replace(table4, rows=(*table4.rows, table4.rows[0])))


def test_gaps_say_which_cells_and_why_once_a_reason(table4: TableResult) -> None:
    assert gaps(to_frame(table4)) == [
        Gap("data missing", "put LVIS v1 val under $BENCH_DATA/lvis", "SAM (LVIS)"),
        Gap("weights missing", "python -m bench weights mobilesam", "MobileSAM (COCO 3 click)"),
        Gap("no public weights", "train it: nox -s train_promptable", "SAM-MAE-Ti"),
    ]


def test_gaps_of_several_rows_with_one_reason_are_one(table5: TableResult) -> None:
    assert gaps(to_frame(table5))[0].where == "ViTDet-H; FastSAM"


def test_a_measured_value_that_is_not_a_number_is_a_gap(with_cell: Callable[..., TableResult]) -> None:
    result = with_cell("SAM", "coco_box", measured=math.nan, why="no object of this size")
    assert Gap("measured", "no object of this size", "SAM (COCO box)") in gaps(to_frame(result))


def test_where_less_is_better_the_least_is_best(table4: TableResult) -> None:
    for percent in (True, False):
        columns = tuple(replace(column, less=True, percent=percent) for column in table4.columns)
        frame = to_frame(replace(table4, columns=columns))
        best = frame[(frame["column"] == "coco_box") & frame["best"]]
        methods = frame[(frame["column"] == "coco_box") & (frame["kind"] != "bound")]
        assert set(best["measured"]) == {methods["measured"].min()}
