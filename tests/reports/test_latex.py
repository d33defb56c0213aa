"""The LaTeX text, whole, and a compiler's opinion of it where there is one."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from protocols.results import TableResult
from reports.dataframe import to_frame
from reports.latex import SPECIAL, to_latex

HOSTILE = r"50% of $x_1$ & {a}^b~c\d#<e>[f]"
PREAMBLE = r"\documentclass{article}\usepackage{booktabs}\begin{document}"


def with_hostile_words(result: TableResult) -> TableResult:
    rows = tuple(replace(row, label=f"{HOSTILE} {i}", note=HOSTILE) for i, row in enumerate(result.rows))
    labels = dict(zip((row.label for row in result.rows), (row.label for row in rows), strict=True))
    cells = tuple(replace(cell, row=labels[cell.row], why=HOSTILE) for cell in result.cells)
    return replace(result, title=HOSTILE, world=HOSTILE, rows=rows, cells=cells, footnotes=(HOSTILE,))


@pytest.mark.parametrize("name", ["table4", "micro5"])
def test_text_is_as_it_was(name: str, request: pytest.FixtureRequest, snapshot: Callable[[str, str], None]) -> None:
    result: TableResult = request.getfixturevalue(name)
    snapshot(f"{name}.tex", to_latex(result, to_frame(result)))


def test_every_line_of_a_table_has_all_its_columns(table5: TableResult) -> None:
    body = to_latex(table5, to_frame(table5)).split(r"\midrule")[1].split(r"\bottomrule")[0]
    entries = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(entries) > len(table5.rows)
    for line in entries:
        spanned = 2 * line.count(r"\multicolumn{2}") - line.count(r"\multicolumn{2}")
        assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == 2 + 2 * len(table5.columns)


def test_micro_tables_have_no_line_of_differences(micro4: TableResult, table4: TableResult) -> None:
    assert "& difference &" not in to_latex(micro4, to_frame(micro4))
    assert to_latex(table4, to_frame(table4)).count("& difference &") == 4


def test_special_characters_are_escaped(table4: TableResult) -> None:
    text = to_latex(*(lambda r: (r, to_frame(r)))(with_hostile_words(table4)))
    assert HOSTILE.translate(SPECIAL) in text
    assert HOSTILE not in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
@pytest.mark.parametrize("hostile", [False, True])
def test_it_compiles_without_a_line_too_wide(micro5: TableResult, tmp_path: Path, hostile: bool) -> None:
    result = with_hostile_words(micro5) if hostile else micro5
    text = to_latex(result, to_frame(result))
    (tmp_path / "a.tex").write_text(PREAMBLE + text + r"\end{document}", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    outcome = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout[-2000:]
