"""A table for the terminal: one block a data set, split further in a narrow window; numbers never wrap."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import pairwise

import pandas as pd
from rich.console import Console, RenderableType
from rich.text import Text

from protocols.results import TableResult
from reports import wording
from reports.blocks import Triple, blocks, fits
from reports.comparisons import Difference, Matrix, matrix, tally_line
from reports.dataframe import Line, gaps, lines, to_frame
from reports.wording import tame

PIPE_WIDTH = 100
"""Characters assumed where there is no terminal to ask and COLUMNS is not set: a log file, a pipe."""

VERDICTS = {"same order": "green", "opposite order": "red", "not decided": "yellow"}
ASCII = {
    "±": "+/-",
    "·": ".",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "…": "...",
    "’": "'",
    "✓": "=",
    "✗": "!",
}
"""For streams that cannot take the real sign."""


def print_table(result: TableResult, console: Console | None = None) -> None:
    """Print paper | measured with interval | difference for each cell, then reasons, notes and comparisons.

    Args:
        result: The table.
        console: Where to; by default stdout, `PIPE_WIDTH` wide if that is no terminal.
    """
    console, result = console or _stdout(), tame(result)
    with console.capture() as capture:
        for piece in _pieces(result, console.width):
            console.print(piece, highlight=False)
    console.file.write(_encodable(capture.get(), console.encoding))
    console.file.flush()


def _stdout() -> Console:
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=PIPE_WIDTH)
    return console


def _encodable(text: str, encoding: str) -> str:
    """Return text that the stream can take: a lost plus-minus sign is better than a lost table."""
    foreign = (x for x in set(text) if x.encode(encoding, "ignore") == b"")
    return text.translate({ord(x): ASCII.get(x, "?") for x in foreign})


def _pieces(result: TableResult, width: int) -> Iterator[RenderableType]:
    frame = to_frame(result)
    yield from _heading(result)
    if frame.empty:
        yield Text("This run holds no numbers: it has no rows or no columns.")
        return
    labels, whole = _labels(result), _triples(result, frame, brackets=True)
    brackets = fits(labels, whole, width)
    triples = whole if brackets else _triples(result, frame, brackets=False)
    kinds = [row.kind == "bound" for row in result.rows]
    breaks = frozenset(i for i, (this, below) in enumerate(pairwise(kinds)) if this != below)
    for group, table in blocks(labels, triples, width, breaks=breaks):
        yield Text(f"\n{group}", style="bold")
        yield table
    yield from _legend(result, frame, brackets)
    for letter, note in wording.notes(result):
        yield Text(f"({letter}) {note}" if letter else note, style="dim")
    if any(one.measured is not None for one in result.comparisons):
        yield from _comparisons(result, matrix(result), width)
    if result.command:
        yield Text(f"\nagain: {result.command}", style="dim")


def _heading(result: TableResult) -> Iterator[Text]:
    yield Text(result.title, style="bold")
    yield Text(f"{wording.setting(result)}: {result.world}")
    if caution := wording.caution(result):
        yield Text(caution, style="yellow")


def _labels(result: TableResult) -> list[Text]:
    letters = wording.note_letters(result.rows)
    return [
        Text(row.label + (f" ({letters[row.note]})" if row.note else ""), "dim" if row.kind == "bound" else "")
        for row in result.rows
    ]


def _triples(result: TableResult, frame: pd.DataFrame, *, brackets: bool) -> list[Triple]:
    word = wording.measured_word(result)
    heads = ("paper", word, "diff") if wording.has_paper(result) else ("", word, "")
    triples = []
    for column in result.columns:
        cells = lines(frame[frame["column"] == column.key])
        paper = [Text(wording.number(line.paper, line.percent)) for line in cells]
        texts = (paper, _measured(cells, brackets), [_difference(line) for line in cells])
        triples.append(Triple(wording.group_name(result, column.group), column.label, heads, texts))
    return triples


def _measured(cells: list[Line], brackets: bool) -> list[Text]:
    """Return numbers with intervals, padded so that numbers stand below each other, whatever follows them."""
    intervals = [
        wording.bracket(line.low, line.high, line.percent)
        if brackets
        else wording.plus_minus(line.measured, line.low, line.high, line.percent)
        for line in cells
    ]
    width = max(map(len, intervals), default=0)
    return [
        Text.assemble(
            (wording.number(line.measured, line.percent), _style(line)),
            (f" {interval:{width}}" if width else "", "dim"),
        )
        if math.isfinite(line.measured)
        else Text(wording.MARKS[line.status], style="dim italic")
        for line, interval in zip(cells, intervals, strict=True)
    ]


def _style(line: Line) -> str:
    return "bold" if line.best else "dim" if line.kind == "bound" else ""


def _difference(line: Line) -> Text:
    if math.isnan(line.measured) or math.isnan(line.paper):
        return Text("")
    text = wording.difference(line.difference, line.outside, line.comparable, line.percent)
    if line.comparable and not line.outside:
        text += " " * len(wording.OUTSIDE)
    return Text(text, style="yellow" if line.outside else "dim")


def _legend(result: TableResult, frame: pd.DataFrame, brackets: bool) -> Iterator[RenderableType]:
    form = "[low, high]" if brackets else "±: the wider side of the"
    legend = [f"{form} {result.interval}; bold: best measured number of its column"]
    if frame["outside"].any():
        legend.append(f"{wording.OUTSIDE} the paper's number lies outside that interval")
    yield Text("\n" + "\n".join(legend), style="dim")
    for gap in gaps(frame):
        why = gap.why or wording.LEGEND[gap.status]
        yield Text.assemble((wording.MARKS[gap.status], "italic"), f"  {gap.where}: {why}", style="dim")


def _comparisons(result: TableResult, found: Matrix, width: int) -> Iterator[RenderableType]:
    labels = [Text(f"{pair.first} - {pair.second}") for pair in found.pairs]
    heads = ("paper" if wording.has_paper(result) else "", wording.measured_word(result), "")
    yield Text(f"\nDifferences, {result.pairing}", style="bold")
    triples = []
    for i, column in enumerate(found.columns):
        cells = [pair.differences[i] for pair in found.pairs]
        texts = (
            [Text(cell.paper if cell else "") for cell in cells],
            [_paired(cell) for cell in cells],
            [Text(_verdict(cell), style=VERDICTS.get(cell.verdict, "dim")) if cell else Text("") for cell in cells],
        )
        triples.append(Triple(wording.group_name(result, column.group), column.label, heads, texts))
    for group, table in blocks(labels, triples, width):
        yield Text(f"\n{group}", style="bold")
        yield table
    yield Text(f"\n{tally_line(found.tally)}", style="dim")


def _paired(cell: Difference | None) -> Text:
    return Text.assemble(cell.measured, (f" {cell.margin}" if cell.margin else "", "dim")) if cell else Text("")


def _verdict(cell: Difference) -> str:
    return f"{cell.mark} {cell.details}".rstrip()
