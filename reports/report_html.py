"""A report as one HTML page that loads nothing: sortable tables, figures that enlarge, light and dark, keyboard."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence

from reports.document import Document, Grid, Plot, Sheet, blocks_of
from reports.fonts import FALLBACK, face_rules
from reports.html import TEMPLATES, address, environment, plots, view_of
from reports.plot import SERIF

LONG = 28
"""Characters of an entry that takes several lines on a narrow page."""
_FONT_OF_SVG = re.compile(rb"(<text style=\"[^\"]*?)" + ", ".join(f"'{name}'" for name in SERIF).encode())


def to_report_html(document: Document, tiles: Mapping[str, bytes], siblings: Sequence[str] = ()) -> str:
    """Render a report as a page.

    Args:
        document: the report.
        tiles: JPEG files of its sheets by name, KEY-ROW-TILE.jpg.
        siblings: names of files beside the page that hold the same, to link to.
    """
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    blocks = list(blocks_of(document))
    letters = "".join(block.svg.decode() for block in blocks if isinstance(block, Plot))
    of_drawings = face_rules(letters, ("", "bold"))
    return (
        environment()
        .get_template("paper.html.j2")
        .render(
            document=document,
            fonts=FALLBACK,
            faces=face_rules(letters),
            script=script,
            script_hash=digest,
            siblings=siblings,
            kind_of=lambda block: type(block).__name__,
            long_columns=long_columns,
            view_of=view_of,
            plots=lambda svg: plots(in_fonts_of_the_page(svg, of_drawings)),
            tiles={
                (block.key, i, j): address(tiles[f"{block.key}-{i}-{j}.jpg"], "image/jpeg")
                for block in blocks
                if isinstance(block, Sheet)
                for i, strip in enumerate(block.strips)
                for j in range(len(strip.tiles))
            },
        )
    )


def long_columns(grid: Grid) -> frozenset[int]:
    """Return the columns of a table of text whose entries take several lines."""
    columns = enumerate(zip(*grid.rows, strict=True))
    return frozenset(i for i, entries in columns if i not in grid.numeric and max(map(len, entries)) > LONG)


def in_fonts_of_the_page(svg: bytes, faces: str) -> bytes:
    """Return a drawing whose text is in the fonts of the page, which it carries: a picture does not see the page's."""
    named = _FONT_OF_SVG.sub(rb"\1" + FALLBACK.encode(), svg)
    return named.replace(b"<defs>", f"<defs>\n  <style>{faces}</style>".encode(), 1)
