"""The plot, by what its axes hold."""

import io
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from protocols.results import TableResult
from reports.dataframe import lines, to_frame
from reports.panel import Theme
from reports.plot import DARK, LIGHT, draw, pictures, recolour
from reports.wording import tame


def figure_of(result: TableResult) -> Figure:
    return draw(result, to_frame(result))


def small(result: TableResult) -> TableResult:
    """Two columns of a result: laying out a figure costs a second a dozen panels."""
    return replace(result, columns=result.columns[2:4], comparisons=())


def artists(axes: Axes, gid: str) -> Iterator:
    yield from (artist for artist in axes.get_children() if artist.get_gid() == gid)


def markers(axes: Axes, gid: str) -> list[float]:
    (line,) = artists(axes, gid)
    return [float(x) for x in line.get_xdata()]


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if any(artists(axes, "measured"))]


def test_there_is_a_panel_a_column_with_the_methods_in_order(table5: TableResult) -> None:
    found = panels(figure_of(table5))
    assert [axes.get_title(loc="left") for axes in found] == [
        f"{column.group} · {column.label}" for column in table5.columns
    ]
    methods = [row.label for row in table5.rows if row.kind != "bound"]
    assert [label.get_text() for label in found[0].get_yticklabels()] == methods
    assert found[0].yaxis_inverted()


def test_markers_stand_at_the_numbers_in_percent(table4: TableResult) -> None:
    frame = to_frame(table4)
    for column, axes in zip(table4.columns, panels(figure_of(table4)), strict=True):
        methods = [x for x in lines(frame) if x.column == column.key and x.kind != "bound"]
        np.testing.assert_allclose(markers(axes, "measured"), [100 * x.measured for x in methods])
        np.testing.assert_allclose(markers(axes, "paper"), [100 * x.paper for x in methods])


def test_whiskers_are_the_intervals_of_those_that_have_one(with_cell: Callable[..., TableResult]) -> None:
    axes = panels(figure_of(with_cell("SAM", "coco_box", low=math.nan)))[0]
    (whiskers,) = artists(axes, "interval")
    ends = [[float(x) for x, _ in path] for path in whiskers.get_segments()]
    assert len(ends) == 3
    assert ends[0] == pytest.approx([73.4 - 0.42, 73.4 + 1.2 * 0.42])


def test_comparable_numbers_share_one_axis_and_have_no_ranks(table4: TableResult) -> None:
    figure = figure_of(table4)
    assert len(figure.axes) == 6
    assert not [text for axes in figure.axes for text in artists(axes, "rank paper")]
    assert figure.axes[0].get_xlabel() == "paper and measured (%)"


def test_micro_numbers_have_another_axis_than_the_papers(micro4: TableResult) -> None:
    figure = figure_of(micro4)
    ours, papers = panels(figure), [axes for axes in figure.axes if any(artists(axes, "paper"))]
    assert len(ours) == len(papers) == 6
    assert not set(ours) & set(papers)
    assert ours[0].get_xlabel() == "micro (%)"
    assert papers[0].get_xlabel() == "paper, COCO (%)"
    assert papers[0].xaxis.get_label_position() == "top"
    assert ours[0].xaxis.label.get_color() != papers[0].xaxis.label.get_color()
    assert ours[0].get_title(loc="left") == "COCO (micro) · box"


def test_ranks_are_those_among_methods_with_both_numbers(micro4: TableResult) -> None:
    figure = figure_of(micro4)
    ours = panels(figure)[0]
    papers = next(axes for axes in figure.axes if any(artists(axes, "paper")))
    assert [text.get_text() for text in artists(papers, "rank paper")] == ["1", "4", "3", "2"]
    assert [text.get_text() for text in artists(ours, "rank measured")] == ["2", "4", "3", "1"]


def test_a_frame_in_view_is_a_line_and_one_out_of_view_is_named_at_the_edge(table4: TableResult) -> None:
    box, click = panels(figure_of(table4))[:2]
    assert [text.get_text() for text in artists(box, "frames beyond")] == ["◂ floor 52.0", "ceiling 94.7 ▸"]
    (floor,) = artists(click, "frame floor")
    assert floor.get_xdata()[0] == pytest.approx(51.0)


def test_every_marker_and_whisker_is_in_view(table5: TableResult, micro5: TableResult) -> None:
    for result in (table5, micro5):
        for axes in figure_of(result).axes:
            low, high = axes.get_xlim()
            shown = [x for gid in ("measured", "paper") if any(artists(axes, gid)) for x in markers(axes, gid)]
            assert all(low < x < high for x in shown if math.isfinite(x))


def test_a_missing_number_says_why_in_its_line(table4: TableResult) -> None:
    axes = panels(figure_of(table4))[2]
    assert [(t.get_text(), t.get_position()[1]) for t in artists(axes, "reason")] == [
        ("no weights", 1),
        ("unreleased", 2),
    ]


def test_the_header_says_what_scale_it_is(micro4: TableResult) -> None:
    words = " ".join(text.get_text() for text in figure_of(micro4).texts)
    assert "micro scale: dead leaves" in words
    assert "Not comparable" in words


def test_a_table_with_nothing_measured_still_plots(table4: TableResult) -> None:
    cells = tuple(replace(cell, status="data missing", measured=None, low=None, high=None) for cell in table4.cells)
    for comparable in (True, False):
        result = replace(table4, cells=cells, comparable=comparable)
        assert len(list(artists(panels(figure_of(result))[0], "reason"))) == 5


def test_pictures_are_the_same_on_every_run_and_wide_enough_to_read(table4: TableResult) -> None:
    dollars = replace(small(table4), title="costs $x_1 and $y^{2")
    first, again = (pictures(dollars, to_frame(dollars)) for _ in range(2))
    assert first == again
    with Image.open(io.BytesIO(first.png)) as image:
        assert image.width == 1440


def test_a_recoloured_picture_is_the_one_drawn_in_those_colours(micro4: TableResult) -> None:
    light, dark = ({getattr(theme, f.name).lower() for f in fields(Theme)} for theme in (LIGHT, DARK))
    result = small(micro4)
    svg = pictures(result, to_frame(result)).svg
    used = set(re.findall(r"#[0-9a-f]{6}\b", svg.decode()))
    assert used == light
    assert set(re.findall(r"#[0-9a-f]{6}\b", recolour(svg, DARK).decode())) == dark


def test_reports_need_neither_torch_nor_a_display() -> None:
    code = (
        "import sys, reports; assert not {'torch', 'matplotlib.pyplot', 'tkinter'} & set(sys.modules), "
        "sorted({'torch', 'matplotlib.pyplot', 'tkinter'} & set(sys.modules))"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stderr


def test_names_that_are_no_plain_text_are_drawn(table4: TableResult) -> None:
    name = "$\\frac{$ \x1b[1m\ud800\u202e\n_"
    rows = (replace(table4.rows[0], label=name), *table4.rows[1:])
    cells = tuple(replace(cell, row=name) if cell.row == table4.rows[0].label else cell for cell in table4.cells)
    result = tame(replace(table4, rows=rows, cells=cells, title=name, world=name, comparisons=()))
    assert pictures(result, to_frame(result)).png.startswith(b"\x89PNG")
