"""The matrix of paired differences."""

import math
from dataclasses import replace

from rich.console import Console

from protocols.results import Comparison, TableResult
from reports.comparisons import matrix
from reports.dataframe import to_frame
from reports.latex import to_latex
from reports.markdown import to_markdown
from reports.terminal import print_table


def compared(result: TableResult, *comparisons: Comparison) -> TableResult:
    return replace(result, comparisons=comparisons)


def test_a_line_is_a_pair_and_a_column_a_column(table4: TableResult) -> None:
    found = matrix(table4)
    assert [pair[:2] for pair in found.pairs] == [
        ("SAM", "EfficientSAM-S"),
        ("EfficientSAM-S", "EfficientSAM-Ti"),
        ("EfficientSAM-Ti", "MobileSAM"),
        ("EfficientSAM-Ti", "SAM-MAE-Ti"),
    ]
    assert found.columns == list(table4.columns)


def test_only_columns_that_are_compared_are_there_and_gaps_stay_gaps(table4: TableResult) -> None:
    one = Comparison("SAM", "MobileSAM", "lvis_box", 0.05, 0.04, 0.03, 0.05, "same order")
    two = Comparison("SAM", "FastSAM", "coco_box", 0.05, 0.04, 0.03, 0.05, "same order")
    found = matrix(compared(table4, one, two))
    assert [column.key for column in found.columns] == ["coco_box", "lvis_box"]
    assert [[cell is None for cell in pair.differences] for pair in found.pairs] == [
        [True, False],
        [False, True],
    ]


def test_a_comparison_without_a_measurement_shows_the_papers_number_only(table4: TableResult) -> None:
    cell = matrix(table4).pairs[-1].differences[0]
    assert cell is not None
    assert (cell.paper, cell.measured, cell.margin, cell.interval, cell.ends) == ("+1.0", "", "", "", None)


def test_an_unknown_interval_is_not_drawn(table4: TableResult) -> None:
    for low in (None, math.nan):
        one = Comparison("SAM", "MobileSAM", "coco_box", 0.05, 0.04, low, 0.05, "not decided")
        cell = matrix(compared(table4, one)).pairs[0].differences[0]
        assert cell is not None
        assert cell.ends is None
        assert (cell.margin, cell.interval) == ("±?", "[?, +5.0]")


def test_the_tally_counts_every_comparison_once_in_a_fixed_order(table4: TableResult) -> None:
    tally = matrix(table4).tally
    assert sum(count for *_, count in tally) == len(table4.comparisons)
    assert [mark for mark, *_ in tally] == ["✓", "✗", "~", "–"]


def test_a_verdict_without_a_sign_is_written_out(table4: TableResult) -> None:
    one = Comparison("SAM", "MobileSAM", "coco_box", 0.05, 0.04, 0.03, 0.05, "larger")
    found = matrix(compared(table4, one))
    assert found.pairs[0].differences[0] is not None
    assert found.pairs[0].differences[0].mark == "larger"
    assert found.tally == [("", "larger", 1)]


def test_nothing_is_printed_of_pairs_that_nobody_claims_or_measured(table4: TableResult) -> None:
    result = compared(table4, Comparison("SAM", "MobileSAM", "coco_box", None, None, None, None, "not measured"))
    assert matrix(result).pairs == []
    frame = to_frame(result)
    assert "Differences" not in to_markdown(result, frame)
    assert "first" not in to_latex(result, frame)
    console = Console(width=80, record=True)
    print_table(result, console)
    assert "Differences" not in console.export_text()
