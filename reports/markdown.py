"""A table as Markdown that reads well both rendered and as plain text: one table a data set, cells padded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import pandas as pd

from protocols.results import Column, TableResult
from reports import wording
from reports.comparisons import Matrix, matrix, tally_line
from reports.dataframe import Line, by_row, gaps
from reports.wording import BREAK

SPECIAL = re.compile(r"([\\`*_\[\]|#~$])")
MENTION = re.compile(r"(?<![\w./])@(?=\w)")
"""What would call somebody in a comment on GitHub."""


def to_markdown(result: TableResult, frame: pd.DataFrame) -> str:
    """Render the frame of a result, with its comparisons, reasons, notes, command and provenance."""
    parts = [f"# {escape(result.title)}", *tables_of(result, frame, heading="## ")]
    if (found := matrix(result)).pairs:
        parts += [f"## Differences, {escape(result.pairing)}", *_comparisons(result, found)]
    if result.command:
        parts += ["## Again", f"    {' '.join(result.command.split())}"]
    if result.provenance:
        lines = [f"- {escape(name)}: {escape(value)}" for name, value in wording.flatten(result.provenance)]
        parts += ["<details><summary>Provenance</summary>", "\n".join(lines), "</details>"]
    return "\n\n".join(parts) + "\n"


def tables_of(result: TableResult, frame: pd.DataFrame, heading: str = "**") -> Iterator[str]:
    """Yield a result's setting, a table a data set, and what stands below them.

    Args:
        result: the table.
        frame: its frame.
        heading: what begins the name of a data set; "**" for bold.
    """
    yield _world(result)
    for group, columns in groupby(result.columns, key=lambda column: column.group):
        if group:
            yield f"{heading}{escape(wording.group_name(result, group))}{heading if heading == '**' else ''}"
        yield _group(result, frame, list(columns))
    yield _legend(result, frame)
    if below := _below(result, frame):
        yield below


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line.

    >>> escape("my_model | <b>")
    'my\\_model \\| &lt;b&gt;'
    """
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MENTION.sub(f"@{BREAK}", SPECIAL.sub(r"\\\1", flat))


def _world(result: TableResult) -> str:
    preset = f", preset {escape(result.preset)}" if result.preset else ""
    lines = [f"> **{escape(wording.place(result))}**{preset}: {escape(result.world)}"]
    if caution := wording.caution(result):
        lines += [">", f"> **{caution}**"]
    return "\n".join(lines)


def _group(result: TableResult, frame: pd.DataFrame, columns: Sequence[Column]) -> str:
    letters = wording.note_letters(result.rows)
    head = [escape(result.row_head)]
    with_paper = wording.has_paper(result)
    for column in columns:
        head += _heads(column, result, "diff")
    table, body = by_row(frame), []
    for row in result.rows:
        mark = f"<sup>{letters[row.note]}</sup>" if row.note else ""
        entries = [("_{}_" if row.kind == "bound" else "{}").format(escape(row.label)) + mark]
        keys = {column.key for column in columns}
        for line in table[row.label]:
            if line.column in keys:
                entries += _cell(line) if with_paper else _cell(line)[1:2]
        body.append(entries)
    return pipe_table(head, body)


def _heads(column: Column, result: TableResult, last: str) -> list[str]:
    """Return the headings of a column: paper, measured and what follows, or if the paper has no such table one."""
    label, word = escape(column.label), escape(wording.measured_word(result))
    if wording.has_paper(result):
        return [f"{label}: paper", word, last]
    return [label if result.own else f"{label}: {word}"]


def _cell(line: Line) -> list[str]:
    paper = wording.number(line.paper, line.percent)
    if math.isnan(line.measured):
        return [paper, f"_{wording.MARKS[line.status]}_", ""]
    value = wording.number(line.measured, line.percent)
    interval = wording.bracket(line.low, line.high, line.percent)
    measured = f"{f'**{value}**' if line.best else value} {interval}".strip()
    if math.isnan(line.paper):
        return [paper, measured, ""]
    difference = wording.difference(line.difference, line.outside, line.comparable, line.percent)
    return [paper, measured, escape(difference)]


def pipe_table(head: list[str], body: list[list[str]]) -> str:
    """Return a table whose cells are padded; its entries are escaped already."""
    widths = [max(3, *map(len, column)) for column in zip(head, *body, strict=True)]

    def line(entries: list[str]) -> str:
        padded = [
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(entries, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + ":" if i else "-" * width for i, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, body)])


def _legend(result: TableResult, frame: pd.DataFrame) -> str:
    text = f"{escape(f'[low, high]: {result.interval}')}. **Bold**: best measured number of its column."
    if frame["outside"].any():
        text += f" {escape(wording.OUTSIDE)}: the paper's number lies outside that interval."
    return text


def _below(result: TableResult, frame: pd.DataFrame) -> str:
    reasons = [
        f"- _{wording.MARKS[gap.status]}_: {escape(f'{gap.where}: {gap.why or wording.LEGEND[gap.status]}')}"
        for gap in gaps(frame)
    ]
    notes = [f"- {f'<sup>{letter}</sup> ' if letter else ''}{escape(note)}" for letter, note in wording.notes(result)]
    return "\n".join(reasons + notes)


def _comparisons(result: TableResult, found: Matrix) -> Iterator[str]:
    for group, members in groupby(enumerate(found.columns), key=lambda place: place[1].group):
        places = list(members)
        if group:
            yield f"### {escape(wording.group_name(result, group))}"
        head, with_paper = ["first - second"], wording.has_paper(result)
        for _, column in places:
            head += _heads(column, result, "") if with_paper else [*_heads(column, result, ""), ""]
        body = []
        for pair in found.pairs:
            entries = [f"{escape(pair.first)} - {escape(pair.second)}"]
            for i, _ in places:
                cell = pair.differences[i]
                measured = f"{cell.measured} {cell.interval}".strip() if cell else ""
                said = [cell.paper, measured, escape(f"{cell.mark} {cell.details}".rstrip())] if cell else [""] * 3
                entries += said if with_paper else said[1:]
            body.append(entries)
        yield pipe_table(head, body)
    yield escape(tally_line(found.tally))
