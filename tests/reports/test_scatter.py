"""Results that are trade-offs, drawn against one of their columns: our points above the paper's."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from protocols.results import Cell, Column, Row, TableResult
from reports.dataframe import to_frame
from reports.html import to_html
from reports.plot import draw, pictures

SPEED, AP = Column("images_per_s", "images/s", "", percent=False), Column("ap", "AP", "COCO")
NUMBERS = {"slow": (10.0, 0.4), "fast": (80.0, 0.3), "paper alone": (None, None)}


@pytest.fixture
def tradeoff() -> TableResult:
    cells = []
    for row, (speed, ap) in NUMBERS.items():
        if speed is None:
            cells += [Cell(row, "images_per_s", "not requested", 2.0), Cell(row, "ap", "quoted", 0.5)]
        else:
            cells += [
                Cell(row, "images_per_s", "measured", None, speed, speed - 1, speed + 1, 5),
                Cell(row, "ap", "measured", 0.45, ap, ap - 0.05, ap + 0.05, 9),
            ]
    return TableResult(
        "figure1",
        "AP against throughput",
        "micro",
        "dead leaves",
        False,
        "",
        (SPEED, AP),
        tuple(Row(row, row) for row in NUMBERS),
        tuple(cells),
        against="images_per_s",
    )


def of_gid(axes: Axes, gid: str):
    return [artist for artist in axes.get_children() if artist.get_gid() == gid]


def test_our_points_stand_at_their_numbers_with_both_intervals(tradeoff: TableResult) -> None:
    ours, _ = draw(tradeoff, to_frame(tradeoff)).axes
    (points,) = of_gid(ours, "measured")
    np.testing.assert_allclose(points.get_xdata(), [10, 80])
    np.testing.assert_allclose(points.get_ydata(), [40, 30])
    assert ours.get_xscale() == "log"
    assert len(of_gid(ours, "interval")) == 4
    assert [name.get_text() for name in of_gid(ours, "name")] == ["slow", "fast"]


def test_the_paper_s_points_have_a_panel_of_their_own(tradeoff: TableResult) -> None:
    _, theirs = draw(tradeoff, to_frame(tradeoff)).axes
    (points,) = of_gid(theirs, "paper")
    assert (list(points.get_xdata()), list(points.get_ydata())) == ([2.0], [50.0])


def test_a_panel_without_numbers_says_so(tradeoff: TableResult) -> None:
    bare = [Cell(cell.row, cell.column, cell.status, None, cell.measured) for cell in tradeoff.cells]
    without = TableResult(**{**{k: getattr(tradeoff, k) for k in tradeoff.__slots__}, "cells": tuple(bare)})
    _, theirs = draw(without, to_frame(without)).axes
    assert [text.get_text() for text in of_gid(theirs, "reason")] == ["no numbers"]


def test_the_page_holds_the_picture_and_the_table(tradeoff: TableResult) -> None:
    frame = to_frame(tradeoff)
    page = to_html(tradeoff, frame, pictures(tradeoff, frame).svg)
    assert "data:image/svg+xml" in page
    assert "images/s" in page
