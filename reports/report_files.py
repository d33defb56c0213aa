"""Write a report in every format, all rendered before the first file is written, each file whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from models.errors import BenchError
from protocols.results import TableResult, Tile
from reports.document import Document, Grid, Numbers, Plot, Sheet, blocks_of
from reports.report_html import to_report_html
from reports.report_latex import to_latex_files
from reports.report_markdown import to_report_markdown
from reports.report_typst import to_pdf, to_typst
from reports.spreadsheet import grid_csv, inert_csv
from reports.write import plain, write_whole

LONGEST_SIDE = 512
"""Of a picture in a report, px."""
QUALITY = 92
"""Of its JPEG."""
SIBLINGS = ("report.pdf", "report.md", "report.json", "report.csv", "report.typ", "latex/report.tex")


def write_document(document: Document, results: Sequence[TableResult], out: Path, *, pdf: bool = True) -> list[Path]:
    """Write report.html, .pdf, .typ, .md, .json and .csv, latex/*.tex, figures/* and tables/*.csv to a folder.

    Args:
        document: the report.
        results: what it is about, for the JSON.
        out: the folder; made if it is not there.
        pdf: whether the PDF is made too.

    Raises:
        BenchError: if the folder or a file cannot be written, or the PDF cannot be made.
    """
    figures = figures_of(document)
    tiles = {name: content for name, content in figures.items() if name.endswith(".jpg")}
    source = to_typst(document)
    files: dict[str, str | bytes] = {f"figures/{name}": content for name, content in figures.items()}
    files |= {f"latex/{name}": text for name, text in to_latex_files(document).items()}
    files |= _numbers(document)
    if pdf:
        files["report.pdf"] = to_pdf(source, {f"figures/{name}": content for name, content in figures.items()})
    files["report.typ"] = source
    files["report.md"] = to_report_markdown(document)
    files["report.json"] = _json(document, results)
    files["report.html"] = to_report_html(document, tiles, [name for name in SIBLINGS if name in files])
    try:
        for name in files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
        return [write_whole(out / name, content) for name, content in files.items()]
    except OSError as error:
        why = error.strerror or str(error)
        raise BenchError(f"cannot write the report to '{out}' ({why}): choose another folder with --out") from error


def figures_of(document: Document) -> dict[str, bytes]:
    """Return the pictures of a report by name, each with its data: KEY.svg, .png, .pdf, .csv and KEY-ROW-TILE.jpg."""
    files: dict[str, bytes] = {}
    for block in blocks_of(document):
        if isinstance(block, Plot):
            kinds = {"svg": block.svg, "png": block.png, "pdf": block.pdf, "csv": block.csv.encode()}
            files |= {f"{block.key}.{kind}": content for kind, content in kinds.items()}
        elif isinstance(block, Sheet):
            files[f"{block.key}.csv"] = block.csv.encode()
            for i, strip in enumerate(block.strips):
                files |= {f"{block.key}-{i}-{j}.jpg": jpeg(tile) for j, tile in enumerate(strip.tiles)}
    return files


def jpeg(tile: Tile) -> bytes:
    """Return a picture as a JPEG of at most `LONGEST_SIDE` px."""
    image, file = Image.fromarray(tile.image), io.BytesIO()
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def _numbers(document: Document) -> dict[str, str | bytes]:
    """Return the CSV of every table, and of all tables of the paper together."""
    files: dict[str, str | bytes] = {}
    whole: list[Numbers] = []
    for block in blocks_of(document):
        if isinstance(block, Grid):
            files[f"tables/{block.key}.csv"] = grid_csv(block.head, block.rows)
        elif isinstance(block, Numbers):
            files[f"tables/{block.key}.csv"] = inert_csv(block.frame)
            whole.append(block)
    if whole:
        texts = [inert_csv(block.frame) for block in whole]
        files["report.csv"] = texts[0] + "".join(text.partition("\n")[2] for text in texts[1:])
    return files


def _json(document: Document, results: Sequence[TableResult]) -> str:
    """Return the whole of what is printed, and the results with all that they rest on."""
    grids = {
        block.key: [dict(zip(block.head, row, strict=True)) for row in block.rows]
        for block in blocks_of(document)
        if isinstance(block, Grid)
    }
    whole = {
        "title": document.title,
        "byline": document.byline,
        "abstract": document.abstract,
        "tables": grids,
        "results": [result.to_json() for result in results],
    }
    return json.dumps(plain(whole), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
