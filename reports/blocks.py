"""Wide tables in narrow windows: columns of three side by side while they fit, then in a block below."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

LABEL_WIDTH = 32
PADDING = 2
"""Characters between columns: the divider of the box, which is a blank, and one more."""


class Triple(NamedTuple):
    """One column of a table as three columns of text, e.g. paper, measured, difference."""

    group: str
    label: str
    """Stands over the middle one."""
    heads: tuple[str, str, str]
    texts: tuple[list[Text], list[Text], list[Text]]

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the width of each of the three, in characters."""
        tops = ("", self.label, "")
        return tuple(
            max(cell_len(top), cell_len(head), *(cell_len(text.plain) for text in texts))
            for top, head, texts in zip(tops, self.heads, self.texts, strict=True)
        )

    @property
    def width(self) -> int:
        """Return the width of all, with the room between columns."""
        return sum(self.widths) + 3 * PADDING


def fits(labels: Sequence[Text], triples: Sequence[Triple], width: int) -> bool:
    """Return whether each group's columns stand side by side."""
    room = _room(labels, width)
    return all(sum(triple.width for triple in group) <= room for _, group in _groups(triples))


def blocks(
    labels: Sequence[Text], triples: Sequence[Triple], width: int, *, breaks: frozenset[int] = frozenset()
) -> Iterator[tuple[str, Table]]:
    """Yield (group, table): a whole group where it fits, else about equal pieces of it.

    Args:
        labels: First column, a line each; folds, numbers never do.
        triples: The other columns.
        width: Of the window, in characters.
        breaks: Indices of lines after which a gap stands.
    """
    room = _room(labels, width)
    for name, group in _groups(triples):
        fitting = max(1, room // max(triple.width for triple in group))
        if sum(triple.width for triple in group) <= room:
            fitting = len(group)
        size = math.ceil(len(group) / math.ceil(len(group) / fitting))
        for i in range(0, len(group), size):
            yield name, _block(labels, group[i : i + size], breaks)


def _groups(triples: Sequence[Triple]) -> list[tuple[str, list[Triple]]]:
    return [(name, list(group)) for name, group in groupby(triples, key=lambda triple: triple.group)]


def _room(labels: Sequence[Text], width: int) -> int:
    return width - min(max(cell_len(label.plain) for label in labels), LABEL_WIDTH) - PADDING


def _block(labels: Sequence[Text], triples: Sequence[Triple], breaks: frozenset[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, PADDING - 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("\n", max_width=LABEL_WIDTH, overflow="fold")
    for triple in triples:
        tops = ("", triple.label, "")
        for top, head, wide in zip(tops, triple.heads, triple.widths, strict=True):
            table.add_column(Text(f"{top}\n{head}"), justify="right", no_wrap=True, min_width=wide)
    for i, label in enumerate(labels):
        table.add_row(label, *(texts[i] for triple in triples for texts in triple.texts))
        if i in breaks:
            table.add_section()
    return table
