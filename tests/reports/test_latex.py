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
from reports.latex import to_latex
from reports.latex_text import SPECIAL, label, pages

HOSTILE = r"50% of $x_1$ & {a}^b~c\d#<e>[f]"
PREAMBLE = r"\documentclass[twocolumn]{article}\usepackage{booktabs,graphicx,textcomp}\begin{document}"


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
        assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == 3 + 2 * len(table5.columns)


def test_micro_tables_have_no_line_of_differences(micro4: TableResult, table4: TableResult) -> None:
    assert "& difference &" not in to_latex(micro4, to_frame(micro4))
    assert to_latex(table4, to_frame(table4)).count("& difference &") == 4


def test_special_characters_are_escaped(table4: TableResult) -> None:
    text = to_latex(*(lambda r: (r, to_frame(r)))(with_hostile_words(table4)))
    assert HOSTILE.translate(SPECIAL) in text
    assert HOSTILE not in text


@pytest.mark.parametrize("name", ["x}\\input{/etc/passwd}", "../../evil", "a,b c", "n" * 5_000, ""])
def test_names_of_tables_never_leave_their_label(table4: TableResult, name: str) -> None:
    result = replace(table4, name=name, scale=name)
    text = to_latex(result, to_frame(result))
    assert set(re.findall(r"\\label\{tab:([^}]*)\}", text)) == {
        label(f"{name}-{name}"),
        f"{label(f'{name}-{name}')}-paired",
    }
    assert re.fullmatch(r"[A-Za-z0-9-]{1,60}", label(name))


def test_few_columns_stand_side_by_side_and_the_status_is_said_once_where_all_have_the_same(
    table4: TableResult, micro4: TableResult
) -> None:
    columns = table4.columns[:1]
    narrow = replace(table4, columns=columns, comparisons=())
    text = to_latex(narrow, to_frame(narrow))
    assert r"\begin{table}" in text
    assert re.search(r"SAM & 78\.4 & 76\.9 & .*pm\$0\.5} & \$-\$1\.5 & \* & {\\scriptsize differs}", text)
    assert re.search(r"SAM-MAE-Ti.* & {\\scriptsize no public weights}", text)
    kept = [row for row in micro4.rows if row.label in ("SAM", "EfficientSAM-Ti")]
    same = replace(micro4, columns=micro4.columns[:1], rows=tuple(kept), comparisons=())
    assert "Status of every row: measured (micro)." in to_latex(same, to_frame(same))


def test_lines_that_belong_together_stay_on_a_page() -> None:
    found = list(pages([["a", "b"], ["c"], ["d", "e", "f"], ["g"]], room=3))
    assert found == [["a", "b", "c"], ["d", "e", "f"], ["g"]]


def test_a_table_longer_than_a_page_goes_on_and_its_notes_follow_it(table4: TableResult) -> None:
    one = table4.rows[0]
    rows = tuple(replace(one, label=f"model {i}", note=f"note {i}") for i in range(150))
    cells = tuple(replace(cell, row=row.label) for row in rows for cell in table4.cells if cell.row == one.label)
    long = replace(table4, rows=rows, cells=cells, comparisons=())
    text = to_latex(long, to_frame(long))
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") > 5
    assert text.count(", continued.") == text.count(r"\begin{table*}") - 1
    assert text.count(r"\label{tab:") == 1
    after = text.rpartition(r"\end{table*}")[2]
    assert "note 149" in after


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
@pytest.mark.parametrize("hostile", [False, True])
def test_it_compiles_without_a_line_too_wide(
    micro4: TableResult, micro5: TableResult, tmp_path: Path, hostile: bool
) -> None:
    results = [with_hostile_words(micro5) if hostile else micro5, replace(micro4, columns=micro4.columns[:1])]
    text = "".join(to_latex(result, to_frame(result)) for result in results)
    (tmp_path / "a.tex").write_text(PREAMBLE + text + r"\end{document}", encoding="utf-8")
    log = compiled(tmp_path, "a")
    assert "Overfull" not in log
    assert "too large" not in log


def compiled(folder: Path, name: str) -> str:
    """Return what LaTeX says of a document; it may read no file outside its folders and run no command."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{name}.tex"]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stdout[-2000:].decode(errors="replace")
    return (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
