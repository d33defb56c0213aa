"""What all text forms of a report owe their reader."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import unescape

import pandas as pd
import pytest

from protocols.results import Cell, Row, TableResult
from reports.dataframe import lines, to_frame
from reports.html import to_html
from reports.latex import to_latex
from reports.markdown import to_markdown
from reports.wording import CAUTION, number

Renderer = Callable[[TableResult, pd.DataFrame], str]


def words_of_page(result: TableResult, frame: pd.DataFrame) -> str:
    """The page as a reader has it: hover titles and words, without style and plots."""
    html = re.sub(r"<style>.*?</style>|data:image[^\"]*", "", to_html(result, frame, b"<svg/>"), flags=re.DOTALL)
    return unescape(html).replace("−", "-")


RENDERERS = {"markdown": to_markdown, "latex": to_latex, "html": words_of_page}


@pytest.fixture(params=list(RENDERERS))
def render(request: pytest.FixtureRequest) -> Renderer:
    return RENDERERS[request.param]


def test_every_number_is_there(render: Renderer, table5: TableResult) -> None:
    frame = to_frame(table5)
    numbers = re.findall(r"\d+\.\d", render(table5, frame))
    for line in lines(frame):
        for value in (line.paper, line.measured):
            assert number(value) in numbers or math.isnan(value)


def test_no_difference_to_the_paper_where_not_comparable(render: Renderer, micro4: TableResult) -> None:
    alone = replace(micro4, comparisons=())
    text = render(alone, to_frame(alone)).replace("$", "")
    assert not re.search(r"[+-]\d+\.\d|difference -?\d", text)


def test_the_reader_learns_that_nothing_is_comparable(
    render: Renderer, micro4: TableResult, table4: TableResult
) -> None:
    assert CAUTION in render(micro4, to_frame(micro4))
    assert CAUTION not in render(table4, to_frame(table4))


def test_the_reader_learns_scale_world_command_and_footnotes(render: Renderer, micro5: TableResult) -> None:
    text = render(micro5, to_frame(micro5)).replace("\\", "")
    for words in ("micro scale", micro5.world, micro5.command, *micro5.footnotes):
        assert words in text


def test_missing_cells_say_why(render: Renderer, table4: TableResult) -> None:
    text = render(table4, to_frame(table4)).replace("\\", "")
    for words in ("unreleased", "train it: nox -s train_promptable", "MobileSAM (COCO 3 click)"):
        assert words in text


def test_unknown_interval_ends_are_never_printed_as_nan(
    render: Renderer, with_cell: Callable[..., TableResult]
) -> None:
    with_cell = partial(with_cell, "SAM", "coco_box")
    for low, high in ((math.nan, 0.8), (0.7, math.nan), (math.nan, math.nan), (None, None)):
        result = with_cell(low=low, high=high)
        assert {"nan", "inf"}.isdisjoint(re.findall(r"\w+", render(result, to_frame(result)).lower()))


def test_a_users_model_without_paper_numbers_has_a_row(render: Renderer, table4: TableResult) -> None:
    mine = Row("MySAM", "my-sam", "extra", "trained on my own data")
    cells = tuple(Cell("MySAM", column.key, "measured", None, 0.4321) for column in table4.columns)
    result = replace(table4, rows=(*table4.rows, mine), cells=table4.cells + cells)
    text = render(result, to_frame(result))
    assert "MySAM" in text
    assert text.count("43.2") >= len(cells)
    assert "trained on my own data" in text


def test_a_table_without_groups_comparisons_and_notes_renders(render: Renderer, table4: TableResult) -> None:
    bare = replace(
        table4,
        columns=tuple(replace(column, group="") for column in table4.columns),
        comparisons=(),
        footnotes=(),
        provenance={},
        command="",
    )
    assert "76.9" in render(bare, to_frame(bare))
