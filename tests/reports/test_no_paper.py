"""Tables that the paper does not have: no form leaves room for its numbers."""

from dataclasses import replace

import pytest

from protocols.results import TableResult
from reports.dataframe import to_frame
from reports.markdown import to_markdown
from reports.plot import draw
from reports.terminal import print_table


@pytest.fixture
def ours(micro4: TableResult) -> TableResult:
    """A table without any number of the paper."""
    cells = tuple(replace(cell, paper=None) for cell in micro4.cells)
    return replace(micro4, cells=cells, comparisons=tuple(replace(one, paper=None) for one in micro4.comparisons))


def _words(result: TableResult, capsys: pytest.CaptureFixture[str]) -> set[str]:
    print_table(result)
    return set(capsys.readouterr().out.split())


def test_the_terminal_has_no_column_of_the_paper(
    ours: TableResult, micro4: TableResult, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {"paper", "diff"} <= _words(micro4, capsys)
    assert not {"paper", "diff"} & _words(ours, capsys)


def test_markdown_has_one_column_for_each(ours: TableResult) -> None:
    lines = to_markdown(ours, to_frame(ours)).splitlines()
    (head,) = [line for line in lines if line.startswith("| method") and "box" in line][:1]
    assert head.count("|") == 2 + len([column for column in ours.columns if column.group == ours.columns[0].group])
    assert ": paper" not in "\n".join(lines)
    widths = {line.count("|") for line in lines if line.startswith("| SAM ")}
    assert head.count("|") in widths


def test_the_figure_s_legend_does_not_name_it(ours: TableResult, micro4: TableResult) -> None:
    def named(result: TableResult) -> list[str]:
        (legend,) = draw(result, to_frame(result)).legends
        return [text.get_text() for text in legend.get_texts()]

    assert "paper" in named(micro4)
    assert not {"paper", "digits: ranks, of methods with both"} & set(named(ours))
