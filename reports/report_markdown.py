"""A report as Markdown for a pull request: what is covered, the tables, and where the rest is."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reports.document import Block, Command, Document, Grid, Numbers, Plot, Sheet, Terms, Words, sections_of
from reports.markdown import escape, pipe_table, tables_of
from reports.wording import isolated

MOST = 65_000
"""Characters that a comment of GitHub's may have, with some room."""
LEFT_OUT = "\n\nThe rest is left out here, since a comment may not be longer: it is in report.html.\n"
LONGEST = 300
"""Characters of a paragraph or an entry; what is longer is cut, and stands in report.json in full."""


def to_report_markdown(document: Document) -> str:
    """Render a report; it ends at a paragraph before `MOST` characters, and says so."""
    parts = [f"# {_shown(document.title)}", _shown(document.byline), *map(_shown, document.abstract)]
    for level, section in sections_of(document):
        blocks = [part for block in section.blocks for part in _block(block)]
        heading = f"{'#' * (level + 1)} {_shown(section.title)}"
        parts += [heading, *blocks] if blocks or section.parts else []
    text = parts[0]
    for part in parts[1:]:
        if len(text) + len(part) + len(LEFT_OUT) > MOST:
            return text + LEFT_OUT
        text += f"\n\n{part}"
    return text + "\n"


def _shown(text: str) -> str:
    cut = text if len(text) <= LONGEST * 4 else f"{text[: LONGEST * 4]}… [cut: {len(text):,} characters]"
    return isolated(escape(cut))


def _entry(text: str) -> str:
    return isolated(escape(text if len(text) <= LONGEST else f"{text[:LONGEST]}…"))


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Words):
        if not block.caution:  # the table says it
            yield _shown(block.text)
    elif isinstance(block, Command):
        yield _code(" ".join(block.text.split()))
    elif isinstance(block, Terms):
        yield "\n".join(f"- **{_entry(name)}**: {_shown(said)}" for name, said in block.pairs)
    elif isinstance(block, Grid):
        rows = [[_entry(entry) for entry in row] for row in block.rows]
        yield _narrow(pipe_table([_entry(name) for name in block.head], rows))
    elif isinstance(block, Numbers):
        yield from map(_narrow, tables_of(block.result, block.frame))
    elif isinstance(block, Plot):
        yield f"![{_entry(block.alt)}](figures/{block.key}.png)\n\n{_shown(block.caption)}"
    elif isinstance(block, Sheet):
        yield _sheet(block)


def _code(text: str) -> str:
    """Return text as code; indented alone it would belong to a list above it."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"


def _narrow(text: str) -> str:
    """Return tables without the blanks that align their entries: a comment has room for more of them."""
    lines = (re.sub("-+", "---", line) if re.fullmatch("[|: -]+", line) else line for line in text.splitlines())
    return "\n".join(re.sub(" +", " ", line) if line.startswith("|") else line for line in lines)


def _sheet(sheet: Sheet) -> str:
    """Return what is known of each picture; pictures themselves are files beside the report."""
    lines = []
    for strip in sheet.strips:
        tiles = (f"{_entry(tile.label)} {_entry(tile.words)}".strip() for tile in strip.tiles)
        lines.append(f"- {_entry(strip.title)}: {', '.join(tiles)}")
    return "\n\n".join([_shown(sheet.caption), "\n".join(lines)])
