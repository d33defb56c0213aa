"""The report says what is true of its tables, in every format, whatever names are in them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import html5lib
import numpy as np
import pytest
from matplotlib.figure import Figure

from models.errors import BenchError
from protocols.results import Strip, TableResult, Tile
from reports import paper_report, report_typst
from reports.coverage import abstract, count, reasons
from reports.dataframe import to_frame
from reports.document import Document, Numbers, Section, Sheet, Words, blocks_of
from reports.paper_report import Choice, Inputs, build
from reports.plot import Printed
from reports.report_files import write_document
from reports.report_html import in_fonts_of_the_page, to_report_html
from reports.report_latex import to_latex_files
from reports.report_markdown import MOST, to_report_markdown
from reports.report_typst import literal, quoted, to_pdf, to_typst
from reports.result_files import read_report
from reports.wording import tame
from tests.reports.test_latex import compiled

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><defs></defs>'
    b"<text style=\"font-size: 7px; font-family: 'STIXGeneral', 'DejaVu Sans'; fill: #1b1f24\">a</text></svg>"
)
LONG = "n" * 10_000
HOSTILE = {
    "markup": '<script>alert(1)</script>" onload="x\' <b>&amp;',
    "typst": '#panic("typst") $x$ *b* _i_ `c` @label <label> \\u{41} "]) #eval("1")',
    "latex": r"\input{/etc/passwd} \end{tabular} 100% $ & # _ ^ ~ {",
    "markdown": "| [x](javascript:alert(1)) ![y](http://z) `c` **b** \n\n# h",
    "terminal": "\x1b[2J\x1b]0;owned\x07",
    "formula": "=cmd|' /C calc'!A1",
    "right to left": "מודל العربية \u202egpj.exe",
    "quotes": "a 'model' of \"Ann's\"",
    "long": LONG,
    "far": "漢字 🧪 \u0000 \ud800",
}


@cache
def empty_page() -> bytes:
    """Return a PDF."""
    file = io.BytesIO()
    Figure((1, 1)).savefig(file, format="pdf")
    return file.getvalue()


@pytest.fixture(autouse=True)
def quick_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings cost seconds and have tests of their own."""
    monkeypatch.setattr(paper_report, "printed", lambda result, frame: Printed(SVG, b"png", empty_page()))


def sheet(title: str = "image 1", label: str = "SAM") -> Sheet:
    image = np.zeros((8, 8, 3), np.uint8)
    tiles = (Tile("input", image), Tile(label, image, "IoU 50.0", 0.5))
    return Sheet("examples-box", title, (Strip(title, tiles),), "image_id,iou\n1,0.5\n")


def document(*results: TableResult, **more: Any) -> Document:
    return build(Inputs(results, **more))


def with_name(result: TableResult, name: str) -> TableResult:
    """Return a result whose names and words all are one, as somebody else's files may have them."""
    rows = tuple(replace(row, label=f"{name} {i}", note=name) for i, row in enumerate(result.rows))
    labels = {row.label: new.label for row, new in zip(result.rows, rows, strict=True)}
    return replace(
        result,
        title=name,
        world=name,
        rows=rows,
        columns=tuple(replace(column, label=name, group=name) for column in result.columns),
        cells=tuple(replace(cell, row=labels[cell.row], why=name) for cell in result.cells),
        comparisons=tuple(
            replace(one, first=labels[one.first], second=labels[one.second]) for one in result.comparisons
        ),
        footnotes=(name,),
        command=name,
        interval=name,
        provenance={"versions": {name: name}, "date": name, "data": {name: {"sha256": name}}},
    )


def everything(result: TableResult, name: str) -> Document:
    choice = Choice(name, name, name, name, name)
    shown = (sheet(name, name),)
    return document(with_name(result, name), choices=(choice,), left_out=(name,), examples=shown, byline=name)


def jpegs(made: Document) -> dict[str, bytes]:
    return {
        f"{one.key}-{i}-{j}.jpg": b"jpeg"
        for one in blocks_of(made)
        if isinstance(one, Sheet)
        for i, strip in enumerate(one.strips)
        for j in range(len(strip.tiles))
    }


class TestCoverage:
    def test_every_number_of_the_paper_has_one_outcome(self, table4: TableResult, micro5: TableResult) -> None:
        for result in (table4, micro5):
            cells = count([Numbers("a", result, to_frame(result))])
            assert cells.printed == sum(cell.paper is not None for cell in result.cells)
            assert cells.measured + cells.missing == cells.printed

    def test_numbers_agree_or_differ_only_where_they_are_comparable(
        self, table4: TableResult, micro4: TableResult
    ) -> None:
        frame = to_frame(table4)
        cells = count([Numbers("a", table4, frame)])
        assert cells.differ == int(frame["outside"].sum()) > 0
        assert cells.agree > 0
        apart = count([Numbers("a", micro4, to_frame(micro4))])
        assert (apart.agree, apart.differ) == (0, 0)
        assert apart.apart == apart.measured > 0

    def test_without_an_interval_nothing_agrees(self, with_cell: Callable[..., TableResult]) -> None:
        counts = []
        for low in (0.5, None):
            result = with_cell("SAM", "coco_box", low=low, high=0.9)
            counts.append(count([Numbers("a", result, to_frame(result))]))
        assert counts[0].agree == counts[1].agree + 1
        assert counts[1].apart == 1

    def test_the_abstract_has_the_counts_and_every_reason(self, table4: TableResult) -> None:
        found = [Numbers("a", table4, to_frame(table4))]
        cells, text = count(found), " ".join(abstract(found))
        assert f"{cells.agree} of the paper's numbers lie within" in text
        assert f"{cells.missing} were not measured" in text
        assert sum(one.cells for one in reasons(found)) == cells.missing
        verdicts = [one.verdict for one in table4.comparisons]
        assert f"{verdicts.count('same order')} came out the same" in text
        assert f"{verdicts.count('opposite order')} opposite" in text


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
class TestHostileNames:
    def test_the_page_shows_them_as_text(self, table4: TableResult, name: str) -> None:
        made = everything(table4, name)
        text = to_report_html(made, jpegs(made))
        parser = html5lib.HTMLParser(strict=False, namespaceHTMLElements=False)
        page = parser.parse(text)
        assert parser.errors == []
        assert len(list(page.iter("script"))) == 1
        assert {key for element in page.iter() for key in element.attrib if str(key).startswith("on")} == set()
        addresses = [
            v for element in page.iter() for key, v in element.attrib.items() if key in ("src", "href", "srcset")
        ]
        assert all(one.startswith(("data:", "#")) for one in addresses)
        ids = [element.attrib["id"] for element in page.iter() if "id" in element.attrib]
        assert len(ids) == len(set(ids))
        shown = "".join(page.itertext())
        assert tame(name)[:60].strip() in shown
        assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e]", shown)

    def test_typst_shows_them_and_obeys_nothing(self, table4: TableResult, name: str) -> None:
        pytest.importorskip("typst")
        made = everything(table4, name)
        image = {f"figures/{one}": _jpeg() for one in jpegs(made)}
        figures = {"figures/table4.svg": SVG, **image}
        pdf = to_pdf(to_typst(made), figures)
        assert pdf.startswith(b"%PDF-")
        assert len(pdf) > 5_000

    @pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX on this machine")
    def test_latex_prints_them_and_obeys_nothing(self, table4: TableResult, name: str, tmp_path: Path) -> None:
        made = everything(table4, name)
        write_document(made, [], tmp_path, pdf=False)
        log = compiled(tmp_path / "latex", "main")
        assert "Overfull" not in log
        assert "too large" not in log
        assert "/etc/passwd" not in log
        assert "multiply" not in log

    def test_latex_commands_are_ours_alone(self, table4: TableResult, name: str) -> None:
        files = to_latex_files(everything(table4, name))
        usual = to_latex_files(everything(table4, "plain"))
        commands = {re.sub(r"\d+", "", one) for text in usual.values() for one in re.findall(r"\\[a-zA-Z]+", text)}
        printing = set(re.findall(r"\\[a-zA-Z]+", "".join(_latex_letters())))
        for whole in files.values():
            text = re.sub(r"(?m)^%.*$", "", whole)
            assert {re.sub(r"\d+", "", one) for one in re.findall(r"\\[a-zA-Z]+", text)} <= commands | printing
            unescaped = re.sub(r"\\[{}\\]", "", text)
            assert unescaped.count("{") == unescaped.count("}")
            assert max(map(ord, text)) < 0x2100

    def test_markdown_has_no_link_and_no_tag_of_theirs(self, table4: TableResult, name: str) -> None:
        text = to_report_markdown(everything(table4, name))
        prose = re.sub(r"(?ms)^(`{3,})\n.*?^\1$", "", text)
        assert "\n    " not in prose, "what is indented belongs to the list above it"
        assert not re.search(r"(?<!\\)\]\((?!figures/)", prose)
        assert not re.search(r"<(?!sup>|/sup>|details|/details|summary|/summary)", prose)
        assert len(text) <= MOST

    def test_no_spreadsheet_computes_them_and_json_is_strict(
        self, table4: TableResult, name: str, tmp_path: Path
    ) -> None:
        made = everything(table4, name)
        write_document(made, [tame(with_name(table4, name))], tmp_path, pdf=False)
        for path in tmp_path.rglob("*.csv"):
            for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))):
                assert not [
                    cell for cell in row if cell[:1] in ("=", "+", "@") or (cell[:1] == "-" and not _number(cell))
                ]
        whole = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
        assert whole["results"][0]["title"] == tame(name)
        assert {path.parent.resolve() for path in tmp_path.rglob("*.*")} <= {
            tmp_path.resolve(), *(tmp_path.resolve() / one for one in ("figures", "latex", "tables"))
        }  # fmt: skip


def _number(text: str) -> bool:
    return re.fullmatch(r"-\d*\.?\d+(e-?\d+)?", text) is not None


def _latex_letters() -> list[str]:
    from reports.latex_text import SPECIAL

    return list(SPECIAL.values())


def _jpeg() -> bytes:
    from reports.report_files import jpeg

    return jpeg(Tile("", np.zeros((8, 8, 3), np.uint8)))


def test_what_typst_reads_back_is_the_text(tmp_path: Path) -> None:
    typst = pytest.importorskip("typst")
    for name in HOSTILE.values():
        text = tame(name)
        source = f"#metadata({quoted(text)}) <it>"
        (tmp_path / "a.typ").write_text(source, encoding="utf-8")
        found = json.loads(typst.query(str(tmp_path / "a.typ"), "<it>"))
        assert found[0]["value"] == text


def test_long_words_may_break_and_longer_ones_are_cut_with_a_note() -> None:
    assert "\\u{200b}" in literal("a" * 100)
    assert "[cut: 10,000 characters]" in literal(LONG)


def test_a_drawing_on_the_page_has_its_fonts(table4: TableResult) -> None:
    shown = in_fonts_of_the_page(SVG, "@font-face {}")
    assert b"'STIXGeneral'" not in shown
    assert b"font-family: 'Report'" in shown
    assert b"<style>@font-face {}</style>" in shown


def test_a_run_without_rows_is_shown_as_such_in_every_format(table4: TableResult, tmp_path: Path) -> None:
    empty = replace(table4, rows=(), cells=(), comparisons=())
    no_columns = replace(table4, columns=(), cells=(), comparisons=())
    made = document(empty, no_columns)
    write_document(made, [empty, no_columns], tmp_path)
    for name in ("report.html", "report.md", "report.typ", "latex/report.tex"):
        assert (tmp_path / name).read_text(encoding="utf-8").count("This run holds no numbers") == 2, name
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_a_missing_figure_is_told(table4: TableResult) -> None:
    pytest.importorskip("typst")
    made = document(table4, examples=(sheet(),))
    with pytest.raises(BenchError, match="the PDF could not be made"):
        to_pdf(to_typst(made), {"figures/table4.svg": SVG})


def test_without_typst_the_way_out_is_named(table4: TableResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_typst.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BenchError, match=re.escape("pip install efficientsam-bench[report]")):
        to_pdf("", {})


def test_two_results_of_one_table_are_both_there(table4: TableResult, micro4: TableResult, tmp_path: Path) -> None:
    write_document(document(table4, micro4), [table4, micro4], tmp_path, pdf=False)
    assert {"table4.csv", "table4-2.csv"} <= {path.name for path in (tmp_path / "tables").iterdir()}
    assert {"table4.tex", "table4-2.tex"} <= {path.name for path in (tmp_path / "latex").iterdir()}


def test_the_pdf_is_the_same_bytes_again(table4: TableResult) -> None:
    pytest.importorskip("typst")
    source = to_typst(document(table4))
    one, other = (to_pdf(source, {"figures/table4.svg": SVG}) for _ in range(2))
    assert one == other


def test_every_drawing_has_its_numbers_beside_it(table4: TableResult, tmp_path: Path) -> None:
    write_document(document(table4, examples=(sheet(),)), [table4], tmp_path, pdf=False)
    folder = tmp_path / "figures"
    for picture in [*folder.glob("*.svg"), *folder.glob("*.jpg")]:
        key = re.sub(r"-\d+-\d+$", "", picture.stem)
        assert (folder / f"{key}.csv").is_file()
    frame = list(csv.DictReader((folder / "table4.csv").open(encoding="utf-8")))
    assert len(frame) == len(table4.cells)


def test_sections_of_others_are_rendered_and_empty_ones_are_not(table4: TableResult) -> None:
    more = Section("claims", "Claims of the text", (Words("Nothing is claimed."),))
    made = document(table4, extra=(more, Section("empty", "Nothing", ())))
    for text in (to_typst(made), to_report_html(made, {}), to_report_markdown(made), *to_latex_files(made).values()):
        if "Claims of the text" in text:
            assert "Nothing is claimed." in text
    assert [one.key for one in made.sections if one.key in ("claims", "empty")] == ["claims"]


def test_markdown_fits_into_a_comment_and_says_what_it_leaves_out(table4: TableResult) -> None:
    many = document(*[replace(table4, name=f"t{i}") for i in range(60)])
    text = to_report_markdown(many)
    assert len(text) <= MOST
    assert "it is in report.html" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"cells": [{"row": "SAM", "column": "coco_box", "status": "measured", "measured": "high"}]},
            "no report of this",
        ),
        ({"cells": [{"row": "SAM", "column": "coco_box", "state": "measured"}]}, "no report of this"),
        ({"cells": [{"row": "SAM", "column": "coco_box", "status": "guessed"}]}, "no report of this"),
        ({"title": 5}, "no report of this"),
        ({"provenance": []}, "no report of this"),
        ({"columns": None}, "no report of this"),
        ({"notes_of_an_older_version": []}, "no report of this"),
    ],
)
def test_results_of_other_versions_are_refused(
    table4: TableResult, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "table4.json"
    path.write_text(json.dumps({**table4.to_json(), **change}))
    with pytest.raises(BenchError, match=said):
        read_report(path)
