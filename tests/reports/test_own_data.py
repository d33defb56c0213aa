"""A report on data of the user's own calls them by their name and shows nothing of the paper."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from models.errors import BenchError
from protocols.own_data import of_own_data
from protocols.results import TableResult
from reports.dataframe import to_frame
from reports.plot import draw
from reports.terminal import print_table
from reports.write import write_report


@pytest.fixture(params=["table4", "table5"])
def own(request: pytest.FixtureRequest) -> TableResult:
    table = replace(request.getfixturevalue(request.param), world="/data/street.json", command="python -m bench run")
    return of_own_data(table, "street, at <night>", ())


def without_known(text: str) -> str:
    """Return text without the words in which the paper may be named (its preset, that it has no numbers), or style."""
    text = re.sub(r"<style>.*?</style>|<meta .*?>|class=\".*?\"|data:image[^\"]*", "", text, flags=re.DOTALL)
    return (
        unescape(text).replace("preset paper", "").replace("Data of the user's own: no paper has numbers of them.", "")
    )


def test_every_file_is_called_by_the_data_and_has_no_column_of_the_paper(own: TableResult, tmp_path: Path) -> None:
    files = write_report(own, tmp_path)
    assert {path.stem for path in files} == {f"{own.name}-street-at-night"}
    for path in files:
        if path.suffix in (".md", ".tex", ".html"):
            text = without_known(path.read_text())
            assert "street, at" in text
            assert not re.search(r"\b(paper|scale)\b", text.replace("The drawings of a column share a scale", "")), path
    csv = pd.read_csv(files[0])
    assert not {"paper", "difference", "outside"} & set(csv.columns)
    assert not csv["comparable"].any()
    assert TableResult.from_json(json.loads(files[1].read_text())).own == "street, at <night>"


def test_the_terminal_shows_it_so_too(own: TableResult) -> None:
    out = io.StringIO()
    print_table(own, Console(file=out, width=160))
    text = without_known(out.getvalue())
    assert "own data (street, at <night>)" in text
    assert "measured" in text
    assert not re.search(r"\b(paper|diff|scale)\b", text)


def test_the_figure_has_no_marker_and_no_axis_of_the_paper(own: TableResult) -> None:
    figure = draw(own, to_frame(own))
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "paper" not in labels
    gids = {artist.get_gid() for axes in figure.axes for artist in axes.get_children()}
    assert "measured" in gids
    assert "paper" not in gids


def test_a_name_without_a_letter_still_makes_a_file(table4: TableResult, tmp_path: Path) -> None:
    assert of_own_data(table4, "…", ()).stem == "table4"
    assert of_own_data(table4, "../../etc", ()).stem == "table4-..-..-etc"
    files = write_report(of_own_data(table4, "../../etc", ()), tmp_path / "out")
    assert all(path.parent == tmp_path / "out" for path in files)
    with pytest.raises(BenchError, match="cannot be a file name"):
        write_report(TableResult.from_json({**table4.to_json(), "name": "../x"}), tmp_path)
