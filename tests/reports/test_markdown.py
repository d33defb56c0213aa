"""The Markdown text, whole."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from protocols.results import TableResult
from reports.dataframe import to_frame
from reports.markdown import escape, to_markdown


@pytest.mark.parametrize("name", ["table4", "micro5"])
def test_text_is_as_it_was(name: str, request: pytest.FixtureRequest, snapshot: Callable[[str, str], None]) -> None:
    result: TableResult = request.getfixturevalue(name)
    snapshot(f"{name}.md", to_markdown(result, to_frame(result)))


def test_hostile_words_leave_the_table_whole(table4: TableResult) -> None:
    label = "a | b\n<script>*x*"
    rows = (replace(table4.rows[0], label=label), *table4.rows[1:])
    cells = tuple(replace(cell, row=label) if cell.row == "SAM" else cell for cell in table4.cells)
    result = replace(table4, rows=rows, cells=cells)
    text = to_markdown(result, to_frame(result))
    assert "<script>" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {11}


def test_escape_keeps_what_needs_no_escape() -> None:
    assert escape("EfficientSAM-Ti (76.9 ±0.5)") == "EfficientSAM-Ti (76.9 ±0.5)"
