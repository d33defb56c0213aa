r"""A table as LaTeX (booktabs): floats to \input, with what is said below the table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import pandas as pd

from protocols.results import Column, TableResult
from reports import wording
from reports.comparisons import Difference, Matrix, Pair, matrix, shared_line
from reports.coverage import common_status, legend, statuses
from reports.dataframe import Line, by_row, gaps
from reports.latex_text import (
    ABREAST,
    ACROSS,
    PAGE,
    caption,
    entry,
    escape,
    float_of,
    label,
    lines_of,
    pages,
    small_print,
    words,
)

NEEDS = r"% needs \usepackage{booktabs,graphicx,textcomp}"
NUMBER = r"r@{\,}l"
"""A column of numbers is two of LaTeX's, the number and what follows it: numbers stand below each other."""
BESIDE = 2
"""Most columns of a table whose paper's and measured numbers stand side by side, a method a line."""
VERDICTS = {"same order": "same", "opposite order": "opposite", "not decided": "open", "not measured": "--"}


def to_latex(result: TableResult, frame: pd.DataFrame, key: str = "") -> str:
    r"""Render a result's frame and comparisons as floats that need only `NEEDS`.

    Args:
        result: the table.
        frame: its frame.
        key: of its \label, unless it is the table's name and scale.
    """
    key = label(key or (result.stem if result.own else f"{result.name}-{result.scale}"))
    parts = [f"{NEEDS}\n% again: {' '.join(result.command.split())}"]
    if result.rows and result.columns:
        parts += _cells(result, frame, key)
    if (found := matrix(result)).pairs:
        parts += _comparisons(result, found, key)
    return "\n\n".join(parts) + "\n"


def _kind(columns: Sequence[Column]) -> str:
    """Return the float of a table: across both columns of a page, unless it has but one of its own."""
    return "table*" if len(columns) > 1 else "table"


def _cells(result: TableResult, frame: pd.DataFrame, key: str) -> Iterator[str]:
    """Yield the table, on several pages if it is long, and its notes, below it where both fit on a page."""
    beside = len(result.columns) <= BESIDE
    groups = list(_side_by_side(result, frame) if beside else _stacked(result, frame))
    head, kinds = _heads_beside(result, frame) if beside else _heads_stacked(result, frame)
    notes = list(_notes(result, frame))
    kind = _kind(result.columns)
    width = ACROSS if kind == "table*" else ABREAST
    parts = list(pages(groups))
    room = PAGE - len(parts[-1]) - lines_of([_caption(result, frame)], width)
    below = lines_of(notes, width) <= room
    for place, part in enumerate(parts):
        above = _caption(result, frame) if place == 0 else f"{entry(result.title)}, continued."
        body = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", *head, r"\midrule", *part]
        under = [r"\par\smallskip\parbox{\linewidth}{" + small_print(notes) + "}"] if below and notes else []
        last = part is parts[-1]
        yield float_of(
            kind,
            "htbp",
            above,
            key if place == 0 else "",
            [*body, r"\bottomrule", r"\end{tabular}"],
            under if last else (),
        )
    if notes and not below:
        yield small_print(notes)


def _caption(result: TableResult, frame: pd.DataFrame) -> str:
    setting = f"{wording.setting(result)}: {result.world}"
    caution = wording.caution(result)
    said = [
        rf"{entry(result.title)} ({caption(setting)}).",
        rf"\textbf{{{escape(caution)}}}" if caution else "",
        caption(legend(result, frame)),
    ]
    return " ".join(filter(None, said))


def _heads_beside(result: TableResult, frame: pd.DataFrame) -> tuple[list[str], str]:
    """Return the lines above a table whose numbers stand side by side, and its kinds of columns."""
    differs, word = _differs(frame), escape(wording.measured_word(result))
    under = ["paper", rf"\multicolumn{{2}}{{c}}{{{word}}}", *([r"\multicolumn{2}{c}{diff.}"] if differs else [])]
    span = 5 if differs else 3
    status = "" if common_status(result, frame) else " & status"
    lines = list(_spanning(result, result.columns, span, 2))
    lines.append(rf"{entry(result.row_head)} & {' & '.join(' & '.join(under) for _ in result.columns)}{status} \\")
    kinds = "l" + ("r" + NUMBER + (NUMBER if differs else "")) * len(result.columns) + ("l" if status else "")
    return lines, kinds


def _side_by_side(result: TableResult, frame: pd.DataFrame) -> Iterator[list[str]]:
    """Yield a line a method: paper, measured, difference."""
    differs, state = _differs(frame), _status_column(result, frame)
    table = by_row(frame)
    for row, name in _labels(result):
        entries = []
        for cell in table[row]:
            paper = wording.number(cell.paper, cell.percent)
            entries += [paper, _measured(cell), *([_difference(cell)] if differs else [])]
        rule = [r"\midrule"] if _begins_bounds(result, row) else []
        yield [*rule, rf"{name} & {' & '.join(entries)}{state.get(row, '')} \\"]


def _heads_stacked(result: TableResult, frame: pd.DataFrame) -> tuple[list[str], str]:
    status = not common_status(result, frame)
    lines = list(_spanning(result, result.columns, 2, 3))
    lines[-1] = f"{entry(result.row_head)}{lines[-1]}"
    if status:
        lines[-1] = lines[-1].removesuffix(r" \\") + r" & status \\"
    return lines, f"ll{NUMBER * len(result.columns)}{'l' if status else ''}"


def _stacked(result: TableResult, frame: pd.DataFrame) -> Iterator[list[str]]:
    """Yield the lines of each method: paper, measured, difference."""
    table, state = by_row(frame), _status_column(result, frame)
    word = escape(wording.measured_word(result))
    for place, (row, name) in enumerate(_labels(result)):
        cells = table[row]
        shown = {
            "paper": [f"{wording.number(cell.paper, cell.percent)} & " for cell in cells],
            word: [_measured(cell) for cell in cells],
            "difference": [_difference(cell) for cell in cells],
        }
        lines = [r"\midrule" if _begins_bounds(result, row) else r"\addlinespace"] if place else []
        first, after = name, state.get(row, "")
        for line, entries in shown.items():
            if any(one.strip(" &") for one in entries):
                lines.append(rf"{first} & {line} & {' & '.join(entries)}{after} \\")
                first, after = "", " & " if state else ""
        yield lines


def _spanning(result: TableResult, columns: Sequence[Column], span: int, start: int) -> Iterator[str]:
    """Yield the names of data sets, if there are any, and of columns, each over `span` columns of LaTeX's."""
    tops, rules, at = [], [], start
    for group, members in groupby(columns, key=lambda column: column.group):
        n = span * len(list(members))
        tops.append(rf"\multicolumn{{{n}}}{{c}}{{{entry(wording.group_name(result, group))}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{at}-{at + n - 1}}}")
        at += n
    lead = " &" * (start - 1)
    if any(column.group for column in columns):
        yield rf"{lead} {' & '.join(tops)} \\"
        yield "".join(rules)
    labels = [rf"\multicolumn{{{span}}}{{c}}{{{entry(column.label)}}}" for column in columns]
    yield rf"{lead} {' & '.join(labels)} \\"


def _labels(result: TableResult) -> Iterator[tuple[str, str]]:
    """Yield each row's name, and as it is printed, with the letter of its note."""
    letters = wording.note_letters(result.rows)
    for row in result.rows:
        mark = rf"\textsuperscript{{{letters[row.note]}}}" if row.note else ""
        yield row.label, escape(wording.short_name(row.label)) + mark


def _begins_bounds(result: TableResult, row: str) -> bool:
    """Return whether a row is the first of those that frame the others."""
    places = [one.label for one in result.rows if one.kind == "bound"]
    return bool(places) and places[0] == row and result.rows[0].label != row


def _status_column(result: TableResult, frame: pd.DataFrame) -> Mapping[str, str]:
    """Return the last entry of each row; nothing where all have the same, which the caption says."""
    if common_status(result, frame):
        return {}
    return {row: rf" & {{\scriptsize {entry(said)}}}" for row, said in statuses(result, frame).items()}


def _differs(frame: pd.DataFrame) -> bool:
    return bool(frame["difference"].notna().any())


def _measured(cell: Line) -> str:
    if math.isnan(cell.measured):
        return rf"\multicolumn{{2}}{{c}}{{\emph{{\scriptsize {escape(wording.MARKS[cell.status])}}}}}"
    value = wording.number(cell.measured, cell.percent)
    margin = wording.plus_minus(cell.measured, cell.low, cell.high, cell.percent)
    value = rf"\textbf{{{value}}}" if cell.best else value
    return rf"{value} & {{\scriptsize {escape(margin)}}}" if margin else f"{value} & "


def _difference(cell: Line) -> str:
    """Return an entry, or a blank: a line of blanks is left out, as all are where nothing is comparable."""
    outside = wording.OUTSIDE if cell.outside else ""
    return f"{_minus(wording.signed(cell.difference, cell.percent))} & {outside}"


def _minus(text: str) -> str:
    return text.replace("-", "$-$").replace("[", "{[}").replace("]", "{]}")


def _notes(result: TableResult, frame: pd.DataFrame) -> Iterator[str]:
    for gap in gaps(frame):
        said = words(f"{gap.where}: {gap.why or wording.LEGEND[gap.status]}")
        yield rf"\emph{{{escape(wording.MARKS[gap.status])}}}: {said}"
    for letter, note in wording.notes(result):
        yield (rf"\textsuperscript{{{letter}}} " if letter else "") + words(note)


def _comparisons(result: TableResult, found: Matrix, key: str) -> Iterator[str]:
    """Yield the differences, a pair on lines of paper, measured, verdict."""
    outcome = "; ".join(f"{verdict}: {count}" for _, verdict, count in found.tally)
    title = f"Differences of {wording.cut(result.title, 160)}, {result.pairing} ({wording.place(result)}). "
    title += f"{outcome[:1].upper()}{outcome[1:]}. {shared_line(found)}"
    head = list(_spanning(result, found.columns, 2, 3))
    groups = [
        [*([r"\addlinespace"] if place else []), *_pair(pair, result, found)] for place, pair in enumerate(found.pairs)
    ]
    for place, part in enumerate(pages(groups)):
        above = caption(title.strip()) if place == 0 else f"Differences of {entry(result.title)}, continued."
        body = [rf"\begin{{tabular}}{{ll{NUMBER * len(found.columns)}}}", r"\toprule", *head, r"\midrule", *part]
        yield float_of(
            _kind(found.columns),
            "htbp",
            above,
            "" if place else f"{key}-paired",
            [*body, r"\bottomrule", r"\end{tabular}"],
        )


def _pair(pair: Pair, result: TableResult, found: Matrix) -> Iterator[str]:
    """Yield the lines of a pair: its names on two of them, since together they are too long for one."""
    cells, with_paper = pair.differences, wording.has_paper(result)
    margins = [rf"{{\scriptsize {escape(cell.margin)}}}" if cell and cell.margin else "" for cell in cells]
    said = [_verdict(cell, found) if cell else "" for cell in cells]
    verdicts = [rf"\multicolumn{{2}}{{c}}{{\emph{{\scriptsize {entry(text)}}}}}" for text in said]
    papers = [f"{_minus(cell.paper) if cell else ''} & " for cell in cells]
    ours = [f"{_minus(cell.measured) if cell else ''} & {m}" for cell, m in zip(cells, margins, strict=True)]
    blank = [" & "] * len(cells)
    first, second = (escape(wording.short_name(name)) for name in (pair.first, pair.second))
    yield rf"{first} & {'paper' if with_paper else ''} & {' & '.join(papers if with_paper else blank)} \\"
    yield rf"\quad $-$ {second} & {escape(wording.measured_word(result))} & {' & '.join(ours)} \\"
    yield rf" & order & {' & '.join(verdicts)} \\"


def _verdict(cell: Difference, found: Matrix) -> str:
    word = VERDICTS.get(cell.verdict, cell.verdict)
    return f"{word}, {cell.details}" if cell.details and cell.details != found.shared else word
