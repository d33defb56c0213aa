"""A report as Typst source and, through the package `typst`, as a two-column PDF; no TeX.

All text of the document goes into string literals of Typst, where nothing is markup. The look is templates/report.typ.
"""

from __future__ import annotations

import importlib.util
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from models.errors import BenchError
from protocols.results import Column, TableResult
from reports import wording
from reports.comparisons import Difference, Matrix, matrix, shared_line
from reports.coverage import common_status, legend, row_status
from reports.dataframe import Line, by_row, gaps
from reports.document import Block, Command, Document, Grid, Numbers, Plot, Sheet, Terms, Words, abreast, sections_of
from reports.fonts import folder as fonts

TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
LONGEST_WORDS = 1200
"""Characters of a paragraph; what is longer is cut, with a note, and stands in report.json in full."""
LONGEST_ENTRY = 160
"""Characters of an entry of a table."""
TALLEST = 1.05
"""Height over width of a drawing that fills the width of the text."""
BESIDE = 2
"""Most columns of a table whose paper's and measured numbers stand side by side, a method a line."""


def literal(text: str, longest: int = LONGEST_WORDS) -> str:
    r"""Return text as a string of Typst's language: shown as it is, whatever is in it; what is too long is cut.

    >>> print(literal('#eval("1")'), literal("a\\b"))
    "#eval(\"1\")" "a\\b"
    """
    return quoted(wording.isolated(wording.breakable(wording.cut(text, longest))))


def quoted(text: str) -> str:
    r"""Return a string of Typst's language with exactly this text.

    >>> print(quoted('say "hi"\n'))
    "say \"hi\"\u{a}"
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\u{{{ord(one):x}}}" for one in escaped) + '"'


def array(values: Iterable[str]) -> str:
    """Return values of Typst's language as an array of it."""
    return f"({''.join(f'{value}, ' for value in values)})"


def to_typst(document: Document) -> str:
    """Return the source of a report; files of its pictures are figures/KEY.svg and figures/KEY-ROW-TILE.jpg."""
    abstract = array(map(literal, document.abstract))
    parts = [
        TEMPLATE.read_text(encoding="utf-8"),
        f"#set document(title: {literal(document.title)}, date: none)",
        f"#title-block({literal(document.title)}, {literal(document.byline)}, {abstract})",
    ]
    floating, columns = True, abreast(document)
    for level, section in sections_of(document):
        if level == 1 and floating != (floating := next(columns)):
            parts.append(f"#set page(columns: {2 if floating else 1})")
        parts.append(f"#heading(level: {level}, {literal(section.title, LONGEST_ENTRY)})")
        parts += [part for block in section.blocks for part in _block(block, _flag(floating))]
    return "\n".join(parts) + "\n"


def to_pdf(source: str, figures: Mapping[str, bytes]) -> bytes:
    """Return the PDF of a report.

    Args:
        source: of `to_typst`.
        figures: content of its files by name.

    Raises:
        BenchError: if the package `typst` is not installed, or cannot make it.
    """
    if importlib.util.find_spec("typst") is None:
        raise BenchError("a PDF needs the package 'typst': run `pip install efficientsam-bench[report]`")
    import typst

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "report.typ").write_text(source, encoding="utf-8")
        for name, content in figures.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(content)
        try:
            made: bytes = typst.compile(root / "report.typ", root=root, font_paths=[fonts()], format="pdf")
        except (RuntimeError, ValueError) as error:
            raise BenchError(f"the PDF could not be made ({error}): the other files of the report are whole") from error
    return made


def _block(block: Block, floating: str) -> Iterator[str]:
    if isinstance(block, Words):
        yield f"#{'caution' if block.caution else 'words'}({literal(block.text)})"
    elif isinstance(block, Command):
        yield f"#command({literal(block.text, LONGEST_ENTRY * 2)})"
    elif isinstance(block, Terms):
        yield f"#terms-list({array(array(map(literal, pair)) for pair in block.pairs)})"
    elif isinstance(block, Grid):
        yield _grid(block, floating)
    elif isinstance(block, Plot):
        file, width = quoted(f"figures/{block.key}.svg"), f"{100 * _width(block.svg):.0f}%"
        yield f"#drawing({file}, {literal(block.alt)}, {literal(block.caption)}, width: {width}, floating: {floating})"
    elif isinstance(block, Sheet):
        yield _sheet(block, floating)
    else:
        yield from _numbers(block, floating)


def _width(svg: bytes) -> float:
    """Return which share of the text's width a drawing may have, so that a tall one fits on a page."""
    box = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    tall = float(box[2]) / float(box[1]) if box else 1.0
    return min(1.0, TALLEST / tall)


def _grid(grid: Grid, floating: str) -> str:
    align = array("right" if i in grid.numeric else "left" for i in range(len(grid.head)))
    rows = array(array(literal(entry, 2 * LONGEST_ENTRY) for entry in row) for row in grid.rows)
    head = array(map(literal, grid.head))
    return f"#plain-table({literal(grid.caption)}, {align}, {head}, {rows}, floating: {floating})"


def _sheet(sheet: Sheet, floating: str) -> str:
    strips = []
    for i, strip in enumerate(sheet.strips):
        tiles = (
            f"(file: {quoted(f'figures/{sheet.key}-{i}-{j}.jpg')}, label: {literal(wording.short_name(tile.label))}, "
            f"words: {literal(tile.words, LONGEST_ENTRY)})"
            for j, tile in enumerate(strip.tiles)
        )
        strips.append(f"(title: {literal(strip.title, LONGEST_ENTRY)}, tiles: {array(tiles)})")
    return f"#sheet({literal(sheet.caption)}, {array(strips)}, floating: {floating})"


def _numbers(block: Numbers, floating: str) -> Iterator[str]:
    """Yield the table, its differences, and in the text what stands below it."""
    result, frame = block.result, block.frame
    word = wording.measured_word(result)
    layout = _beside if len(result.columns) <= BESIDE else _stacked
    setting = wording.setting(result)
    caption = f"{setting[:1].upper()}{setting[1:]}; {legend(result, frame)}"
    yield layout(result, block, word, caption, floating)
    found = matrix(result)
    if found.pairs:
        yield _differences(result, found, word, floating)
    notes = [
        f"{wording.MARKS[gap.status]}: {gap.where}: {gap.why or wording.LEGEND[gap.status]}" for gap in gaps(frame)
    ]
    notes += [f"{letter}: {note}" if letter else note for letter, note in wording.notes(result)]
    if notes:
        yield f"#notes({literal(result.title, LONGEST_ENTRY)}, {array(map(literal, notes))})"


def _heads(result: TableResult, columns: Sequence[Column], span: int, first: Sequence[str]) -> str:
    """Return the lines above a table: groups of columns, and columns, each `span` of Typst's columns wide."""
    tops = [
        (wording.group_name(result, group), span * len(list(members)))
        for group, members in groupby(columns, key=lambda column: column.group)
    ]
    groups = array(array((literal(name, LONGEST_ENTRY), str(n))) for name, n in tops)
    labels = array(literal(column.label, LONGEST_ENTRY) for column in columns)
    return f"first: {array(map(literal, first))}, groups: {groups}, labels: {labels}, span: {span}"


def _label(row: str, letter: str) -> str:
    return f"row-label({literal(wording.short_name(row))}, {literal(letter)})"


def _beside(result: TableResult, block: Numbers, word: str, caption: str, floating: str) -> str:
    """Return a table of few columns: paper, measured, difference side by side, a method a line."""
    letters, table = wording.note_letters(result.rows), by_row(block.frame)
    state = not common_status(result, block.frame)
    under = ["paper", word, "diff."] if block.frame["difference"].notna().any() else ["paper", word]
    rows = []
    for row in result.rows:
        cells = table[row.label]
        entries = [
            entry for cell in cells for entry in (_paper(cell), _measured(cell), _difference(cell))[: len(under)]
        ]
        status = [f"small-text({literal(row_status(cells, word), LONGEST_ENTRY)})"] if state else []
        rows.append(array((_label(row.label, letters.get(row.note, "")), *entries, *status)))
    heads = f"{_heads(result, result.columns, len(under), (result.row_head,))}, under: {array(map(literal, under))}"
    wide = _flag(len(result.columns) > 1)
    title = literal(result.title, LONGEST_ENTRY)
    return (
        f"#numbers-table({title}, {literal(caption)}, {heads}, rules: (), wide: {wide}, "
        f"status: {_flag(state)}, floating: {floating}, {array(rows)})"
    )


def _stacked(result: TableResult, block: Numbers, word: str, caption: str, floating: str) -> str:
    """Return a table of many columns: lines of paper, measured and difference for each method."""
    letters, table = wording.note_letters(result.rows), by_row(block.frame)
    state = not common_status(result, block.frame)
    rows, rules = [], []
    for row in result.rows:
        cells = table[row.label]
        status = f"small-text({literal(row_status(cells, word), LONGEST_ENTRY)})"
        lines = {"paper": [_paper(c) for c in cells], word: [_measured(c) for c in cells]}
        lines["diff."] = [_difference(c) for c in cells]
        label = _label(row.label, letters.get(row.note, ""))
        for name, entries in lines.items():
            if any(entry != "[]" for entry in entries):
                last = [status] if state else []
                rows.append(array((label, f"small-text({literal(name)})", *entries, *last)))
                label = status = "[]"
        rules.append(str(len(rows)))
    heads = _heads(result, result.columns, 1, (result.row_head, ""))
    title = literal(result.title, LONGEST_ENTRY)
    return (
        f"#numbers-table({title}, {literal(caption)}, {heads}, under: (), rules: {array(rules[:-1])}, wide: true, "
        f"status: {_flag(state)}, floating: {floating}, {array(rows)})"
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _paper(cell: Line) -> str:
    return _value(wording.number(cell.paper, cell.percent))


def _value(number: str, margin: str = "", best: bool = False) -> str:
    shown = number.replace("-", "−")
    return f"value({literal(shown)}, {literal(margin)}, {_flag(best)})" if number else "[]"


def _measured(cell: Line) -> str:
    if math.isnan(cell.measured):
        return f"mark({literal(wording.MARKS[cell.status])})"
    margin = wording.plus_minus(cell.measured, cell.low, cell.high, cell.percent)
    return _value(wording.number(cell.measured, cell.percent), margin, cell.best)


def _difference(cell: Line) -> str:
    return _value(wording.signed(cell.difference, cell.percent), wording.OUTSIDE if cell.outside else "")


def _differences(result: TableResult, found: Matrix, word: str, floating: str) -> str:
    """Return the paired differences: lines of paper, measured and verdict for each pair."""
    rows, rules = [], []
    for pair in found.pairs:
        lines = {
            "paper": [_value(cell.paper) if cell else "[]" for cell in pair.differences],
            word: [_value(cell.measured, cell.margin) if cell else "[]" for cell in pair.differences],
            "order": [f"mark({literal(_verdict(cell, found))})" if cell else "[]" for cell in pair.differences],
        }
        labels = [_label(pair.first, ""), f"box[#h(0.8em)− #{_label(pair.second, '')}]", "[]"]
        shown = [(line, entries) for line, entries in lines.items() if any(entry != "[]" for entry in entries)]
        for label, (line, entries) in zip(labels, shown, strict=False):
            rows.append(array((label, f"small-text({literal(line)})", *entries)))
        rules.append(str(len(rows)))
    caption = f"Differences, first − second, {result.pairing} ({wording.place(result)}); ± the wider side of the "
    caption += f"95 % interval. {shared_line(found)}"
    heads = _heads(result, found.columns, 1, ("first − second", ""))
    wide = _flag(len(found.columns) > 1)
    title = literal(f"{result.title}: orders", LONGEST_ENTRY)
    return (
        f"#numbers-table({title}, {literal(caption)}, {heads}, under: (), rules: {array(rules[:-1])}, wide: {wide}, "
        f"status: false, floating: {floating}, {array(rows)})"
    )


_VERDICTS = {"same order": "same", "opposite order": "opposite", "not decided": "open", "not measured": "–"}


def _verdict(cell: Difference, found: Matrix) -> str:
    word = _VERDICTS.get(cell.verdict, cell.verdict)
    return f"{word}, {cell.details}" if cell.details and cell.details != found.shared else word
