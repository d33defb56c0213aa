r"""A table as LaTeX (booktabs): a `table*` to \input, each method on lines of paper, measured, difference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import pandas as pd

from protocols.results import Column, TableResult
from reports import wording
from reports.comparisons import Difference, Pair, matrix
from reports.dataframe import Line, by_row, gaps

SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "%": r"\%",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "[": "{[}",
        "]": "{]}",
        "−": "$-$",
        "±": r"$\pm$",
        "·": r"$\cdot$",
        "×": r"$\times$",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "≈": r"$\approx$",
        "→": r"$\rightarrow$",
        "✓": r"$\checkmark$",
        "✗": r"$\times$",
    }
)
"""Brackets too: after a line break, \\\\, LaTeX would take [1.2, 3.4] for a distance."""


KNOWN = "–—‘’“”…†‡•"
"""Characters beyond Latin ones that LaTeX has."""

ENTRY = r"r@{\,}l"
"""A column of the table is two of LaTeX's, the number and what follows it: numbers stand below each other."""


VERDICTS = {"same order": "same", "opposite order": "opposite", "not decided": "open", "not measured": "--"}


def to_latex(result: TableResult, frame: pd.DataFrame) -> str:
    r"""Render a result's frame and comparisons as environments that need only \usepackage{booktabs}."""
    parts = [
        f"% needs \\usepackage{{booktabs}}\n% again: {' '.join(result.command.split())}",
        _cells(result, frame),
    ]
    if result.comparisons:
        parts.append(_comparisons(result))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it is, on one line; letters that it has no fonts for as their number.

    >>> print(escape("50% of my_model"))
    50\% of my\_model
    """
    shown = " ".join(text.split()).translate(SPECIAL)
    return "".join(one if ord(one) < 0x180 or one in KNOWN else rf"{{[}}U+{ord(one):04X}{{]}}" for one in shown)


def _environment(
    label: str, caption: str, head: Iterable[str], body: Iterable[str], below: Iterable[str], columns: int
) -> str:
    lines = [
        r"\begin{table*}[t]",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        rf"\begin{{tabular}}{{ll{ENTRY * columns}}}",
        r"\toprule",
        *head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *below,
        r"\end{table*}",
    ]
    return "\n".join(lines)


def _cells(result: TableResult, frame: pd.DataFrame) -> str:
    word = wording.measured_word(result)
    interval = escape(result.interval).replace(r" \%", r"\,\%")
    setting = f"{wording.setting(result)}: {result.world}"
    caption = f"{escape(result.title)} ({escape(setting)}). {_caution(result)}"
    caption += rf"\emph{{{word}}}: with the wider side of the {interval}; bold: best."
    if frame["outside"].any():
        caption += f" {wording.OUTSIDE}: the paper's number lies outside that interval."
    head, body, below = _head(result, result.columns), _body(result, frame, word), _below(result, frame)
    return _environment(_name(result), caption, head, body, below, len(result.columns))


def _name(result: TableResult) -> str:
    return result.stem if result.own else f"{result.name}-{result.scale}"


def _caution(result: TableResult) -> str:
    caution = wording.caution(result)
    return rf"\textbf{{{escape(caution)}}} " if caution else ""


def _head(result: TableResult, columns: Sequence[Column]) -> Iterator[str]:
    tops, rules, start = [], [], 3
    for group, members in groupby(columns, key=lambda column: column.group):
        n = 2 * len(list(members))
        tops.append(rf"\multicolumn{{{n}}}{{c}}{{{escape(wording.group_name(result, group))}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + n - 1}}}")
        start += n
    if any(column.group for column in columns):
        yield rf" & & {' & '.join(tops)} \\"
        yield "".join(rules)
    labels = [rf"\multicolumn{{2}}{{c}}{{{escape(column.label)}}}" for column in columns]
    yield rf" & & {' & '.join(labels)} \\"


def _body(result: TableResult, frame: pd.DataFrame, word: str) -> Iterator[str]:
    letters, table = wording.note_letters(result.rows), by_row(frame)
    for i, row in enumerate(result.rows):
        if i:
            framed = [near.kind == "bound" for near in result.rows[i - 1 : i + 1]]
            yield r"\addlinespace" if framed[0] == framed[1] else r"\midrule"
        cells = table[row.label]
        label = escape(row.label) + (rf"\textsuperscript{{{letters[row.note]}}}" if row.note else "")
        lines = {
            "paper": [f"{wording.number(cell.paper, cell.percent)} & " for cell in cells],
            word: [_measured(cell) for cell in cells],
            "difference": [_difference(cell) for cell in cells],
        }
        for name, entries in lines.items():
            if any(entry.strip(" &") for entry in entries):
                yield rf"{label} & {name} & {' & '.join(entries)} \\"
                label = ""


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


def _below(result: TableResult, frame: pd.DataFrame) -> Iterator[str]:
    lines = [
        rf"\emph{{{escape(wording.MARKS[gap.status])}}}: {escape(gap.where)}: "
        + escape(gap.why or wording.LEGEND[gap.status])
        for gap in gaps(frame)
    ]
    lines += [
        (rf"\textsuperscript{{{letter}}} " if letter else "") + escape(note) for letter, note in wording.notes(result)
    ]
    if lines:
        yield ""
        yield r"\vspace{2pt}\parbox{\linewidth}{\footnotesize\raggedright"
        yield " \\\\\n".join(lines)
        yield "}"


def _comparisons(result: TableResult) -> str:
    found = matrix(result)
    title = f"Differences of {result.title}, {result.pairing} ({wording.place(result)})"
    outcome = "; ".join(f"{verdict}: {count}" for _, verdict, count in found.tally)
    caption = f"{escape(title)}. {_caution(result)}{escape(outcome).capitalize()}."
    word, body = wording.measured_word(result), list[str]()
    for i, pair in enumerate(found.pairs):
        body += [r"\addlinespace"] if i else []
        body += _pair(pair, word, with_paper=wording.has_paper(result))
    head = _head(result, found.columns)
    return _environment(f"{_name(result)}-paired", caption, head, body, (), len(found.columns))


def _pair(pair: Pair, word: str, *, with_paper: bool) -> Iterator[str]:
    """Yield the lines of a pair: its names on two of them, since together they are too long for one."""
    cells = pair.differences
    margins = [rf"{{\scriptsize {escape(cell.margin)}}}" if cell and cell.margin else "" for cell in cells]
    words = [_verdict(cell) if cell else "" for cell in cells]
    verdicts = [rf"\multicolumn{{2}}{{c}}{{\emph{{\scriptsize {escape(text)}}}}}" for text in words]
    papers = [f"{_minus(cell.paper) if cell else ''} & " for cell in cells]
    ours = [f"{_minus(cell.measured) if cell else ''} & {m}" for cell, m in zip(cells, margins, strict=True)]
    blank = [" & "] * len(cells)
    yield rf"{escape(pair.first)} & {'paper' if with_paper else ''} & {' & '.join(papers if with_paper else blank)} \\"
    yield rf"\quad $-$ {escape(pair.second)} & {word} & {' & '.join(ours)} \\"
    yield rf" & order & {' & '.join(verdicts)} \\"


def _verdict(cell: Difference) -> str:
    word = VERDICTS.get(cell.verdict, cell.verdict)
    return f"{word}, {cell.details}" if cell.details else word
