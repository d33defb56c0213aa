"""A report as plain data: sections of blocks, which each format renders in its own way; all text is as it was given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from protocols.results import Strip, TableResult


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph."""

    text: str
    caution: bool = False
    """Whether it must not be overlooked."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that a reader can type."""

    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Names and what is said of each."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """A plain table of text."""

    key: str
    """Name of its files; no two blocks of a document share one."""
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    """Columns that hold numbers."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A table or figure of the paper as numbers: the paper's, ours, interval, difference, status."""

    key: str
    result: TableResult
    frame: pd.DataFrame
    """Of the result, see `reports.dataframe.Line`."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing of numbers, with the numbers."""

    key: str
    caption: str
    alt: str
    """What somebody who does not see it must know."""
    svg: bytes
    """Light, its text as text in the font `reports.plot.SERIF`."""
    png: bytes
    pdf: bytes
    csv: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """Pictures side by side, with what is known of each."""

    key: str
    caption: str
    strips: tuple[Strip, ...]
    csv: str


Block = Words | Command | Terms | Grid | Numbers | Plot | Sheet


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    key: str
    title: str
    blocks: tuple[Block, ...]
    parts: tuple[Section, ...] = ()
    """Sections within it."""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole report."""

    title: str
    byline: str
    """Where and when it was made."""
    abstract: tuple[str, ...]
    """Paragraphs."""
    sections: tuple[Section, ...]


LONG = 30
"""Rows of a table of text that is longer than a page."""


def abreast(document: Document) -> Iterator[bool]:
    """Yield for each section at the top whether it is printed in two columns.

    Pictures and long tables of text have pages of one column; so has what follows them, if it holds no numbers.
    """
    now = True
    for section in document.sections:
        blocks = [block for _, one in _walk((section,), 1) for block in one.blocks]
        wide = any(
            isinstance(block, Plot | Sheet) or (isinstance(block, Grid) and len(block.rows) > LONG) for block in blocks
        )
        now = not wide and (now or any(isinstance(block, Numbers) for block in blocks))
        yield now


def sections_of(document: Document) -> Iterator[tuple[int, Section]]:
    """Yield each section with its level, 1 for those at the top, in the order of reading."""
    yield from _walk(document.sections, 1)


def _walk(sections: tuple[Section, ...], level: int) -> Iterator[tuple[int, Section]]:
    for section in sections:
        yield level, section
        yield from _walk(section.parts, level + 1)


def blocks_of(document: Document) -> Iterator[Block]:
    """Yield all blocks, in the order of reading."""
    for _, section in sections_of(document):
        yield from section.blocks
