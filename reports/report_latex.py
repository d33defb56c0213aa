r"""A report as LaTeX: a file a table to \input, the body that inputs them all, and a document around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.document import (
    Block,
    Command,
    Document,
    Grid,
    Numbers,
    Plot,
    Sheet,
    Terms,
    Words,
    abreast,
    sections_of,
)
from reports.latex import to_latex
from reports.latex_text import ACROSS, caption, entry, float_of, label, length, lines_of, pages, words
from reports.wording import short_name

NEEDS = r"\usepackage{textcomp,amssymb,booktabs,graphicx,tabularx}"
FRAME = rf"""\documentclass[twocolumn,10pt]{{article}}
\usepackage[T1]{{fontenc}}
\usepackage[utf8]{{inputenc}}
\usepackage{{mathptmx}}
\usepackage[margin=0.8in]{{geometry}}
{NEEDS}
\renewcommand{{\topfraction}}{{.95}}\renewcommand{{\dbltopfraction}}{{.95}}\renewcommand{{\textfraction}}{{.05}}
\renewcommand{{\floatpagefraction}}{{.6}}\renewcommand{{\dblfloatpagefraction}}{{.6}}
\setcounter{{dbltopnumber}}{{4}}\setcounter{{topnumber}}{{4}}\setcounter{{totalnumber}}{{6}}
\begin{{document}}
\input{{report}}
\end{{document}}
"""
LEVELS = {1: "section", 2: "subsection"}
WIDE = 24
"""Characters of an entry from which on a column of text is broken into lines."""
NARROW = 32.0
"""Characters that the narrowest of these columns has room for beside the others."""


def to_latex_files(document: Document) -> dict[str, str]:
    r"""Return the sources by name: main.tex, report.tex, and KEY.tex of each table."""
    head = [
        f"% needs {NEEDS}; pictures are in ../figures",
        r"\sloppy",
        rf"\title{{{entry(document.title)}}}",
        rf"\author{{\parbox{{0.9\textwidth}}{{\centering {entry(document.byline)}}}}}",
        r"\date{}",
        r"\maketitle",
        r"\begin{abstract}",
        "\n\n".join(map(words, document.abstract)),
        r"\end{abstract}",
    ]
    files, body = {"main.tex": FRAME}, list(head)
    two, columns = True, abreast(document)
    for level, section in sections_of(document):
        if level == 1 and two != (two := next(columns)):
            body.append(r"\twocolumn" if two else r"\onecolumn")
        body.append(rf"\{LEVELS.get(level, 'paragraph')}{{{entry(section.title)}}}")
        for block in section.blocks:
            if isinstance(block, Numbers):
                name = label(block.key)
                files[f"{name}.tex"] = to_latex(block.result, block.frame, name)
                body.append(rf"\input{{{name}}}")
            else:
                body += _block(block, two)
        if not two and any(isinstance(block, Numbers | Plot | Sheet) for block in section.blocks):
            body.append(r"\clearpage")  # else figures leave their heading
    return files | {"report.tex": "\n".join(body) + "\n"}


def _block(block: Block, floats: bool) -> Iterator[str]:
    """Yield a block; on pages of one column pictures and tables stay where they are named if they can."""
    if isinstance(block, Words):
        if not block.caution:  # the captions of its table and its figure say it
            yield words(block.text) + "\n"
    elif isinstance(block, Command):
        yield rf"\par{{\raggedright\footnotesize\texttt{{{entry(block.text)}}}\par}}"
    elif isinstance(block, Terms):
        for name, said in block.pairs:
            yield rf"\par\noindent\hangindent=1em\textbf{{{entry(name)}}}: {words(said)}\par"
    elif isinstance(block, Grid):
        yield from _grid(block, floats)
    elif isinstance(block, Plot):
        size = r"width=\textwidth,height=0.8\textheight,keepaspectratio"
        yield from _figure(block, floats, [rf"\includegraphics[{size}]{{../figures/{block.key}.pdf}}"])
    elif isinstance(block, Sheet):
        yield from _figure(block, floats, list(_strips(block)))


def _grid(grid: Grid, floats: bool) -> Iterator[str]:
    """Yield a table of text, on several pages if it is long."""
    columns = list(zip(grid.head, *grid.rows, strict=True))
    long = [i for i, column in enumerate(columns) if max(map(length, column[1:]), default=0) > WIDE]
    shares = _shares([columns[i][1:] for i in long])
    kinds = "".join("r" if i in grid.numeric else next(shares) if i in long else "l" for i in range(len(grid.head)))
    start = r"\begin{tabularx}{\linewidth}" if long else r"\begin{tabular}"
    end = r"\end{tabularx}" if long else r"\end{tabular}"
    head = " & ".join(map(entry, grid.head)) + r" \\ \midrule"
    width = max(1, ACROSS // (len(long) + 1))
    rows = [_row(row, long, width) for row in grid.rows]
    for place, part in enumerate(pages(rows)):
        above = caption(grid.caption) if place == 0 else f"{caption(grid.caption)} Continued."
        lines = [line for line in part if line]
        body = [f"{start}{{{kinds}}}", r"\toprule", head, *lines, r"\bottomrule", end]
        key = label(grid.key) if place == 0 else ""
        yield float_of(*_kind("table", floats), above, key, [r"\footnotesize", *body])


def _shares(columns: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the kinds of columns that share the width of a table by how much text they hold."""
    weights = [max(NARROW, sum(map(len, column)) / len(column)) for column in columns]
    for weight in weights:
        share = weight / sum(weights) * len(weights)
        yield rf">{{\hsize={share:.2f}\hsize\raggedright\arraybackslash}}X"


def _row(row: Sequence[str], long: Sequence[int], width: int) -> list[str]:
    """Return a row and as many blank lines as it takes more than one."""
    tall = max((lines_of([row[i][:320]], width) for i in long), default=1)
    return [" & ".join(map(entry, row)) + r" \\", *[""] * (max(tall, 1) - 1)]


def _figure(block: Plot | Sheet, floats: bool, body: list[str]) -> Iterator[str]:
    kind, where = _kind("figure", floats)
    yield rf"\begin{{{kind}}}[{where}]\centering"
    yield from body
    yield rf"\caption{{{caption(block.caption)}}}\label{{fig:{label(block.key)}}}"
    yield rf"\end{{{kind}}}"


def _kind(name: str, floats: bool) -> tuple[str, str]:
    """Return the environment of a figure or table as wide as the page, and where it may stand."""
    return (f"{name}*", "tbp") if floats else (name, "htbp")


def _strips(sheet: Sheet) -> Iterator[str]:
    """Yield pictures side by side, five abreast where there are fewer: those of all sheets are of one size."""
    most = max([5, *(len(strip.tiles) for strip in sheet.strips)])
    for i, strip in enumerate(sheet.strips):
        yield rf"{{\footnotesize\emph{{{entry(strip.title)}}}\par}}"
        tiles = []
        for j, tile in enumerate(strip.tiles):
            below = rf"\scriptsize {entry(short_name(tile.label))}\\ {entry(tile.words)}"
            picture = rf"\includegraphics[width=\linewidth]{{../figures/{sheet.key}-{i}-{j}.jpg}}"
            width = f"{0.98 / most:.3f}"
            tiles.append(rf"\begin{{minipage}}[t]{{{width}\textwidth}}\centering {picture}\\ {below}\end{{minipage}}")
        yield "%\n\\hfill%\n".join(tiles) + r"\par\smallskip"
