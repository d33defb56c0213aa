r"""A report as LaTeX: a file a table to \input, the body that inputs them all, and a document around it."""

from __future__ import annotations

from collections.abc import Iterator

from reports.document import Block, Command, Document, Grid, Numbers, Plot, Sheet, Terms, Words, sections_of
from reports.latex import escape, to_latex
from reports.wording import short_name

FRAME = r"""\documentclass[twocolumn,10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp,amssymb,booktabs,graphicx,tabularx}
\begin{document}
\input{report}
\end{document}
"""
LEVELS = {1: "section", 2: "subsection"}
LONGEST_WORDS, LONGEST_ENTRY = 1200, 160
"""Characters of a paragraph and of an entry; what is longer is cut, and stands in report.json in full."""


def to_latex_files(document: Document) -> dict[str, str]:
    r"""Return the sources by name: main.tex, report.tex, and KEY.tex of each table."""
    head = [
        "% needs \\usepackage{textcomp,amssymb,booktabs,graphicx,tabularx}; pictures are in ../figures",
        rf"\title{{{_short(document.title)}}}",
        rf"\author{{{_short(document.byline)}}}",
        r"\date{}",
        r"\maketitle",
        r"\begin{abstract}",
        "\n\n".join(map(_words, document.abstract)),
        r"\end{abstract}",
    ]
    files, body = {"main.tex": FRAME}, list(head)
    for level, section in sections_of(document):
        body.append(rf"\{LEVELS.get(level, 'paragraph')}{{{_short(section.title)}}}")
        for block in section.blocks:
            if isinstance(block, Numbers):
                files[f"{block.key}.tex"] = to_latex(block.result, block.frame)
                body.append(rf"\input{{{block.key}}}")
            else:
                body += _block(block)
    return files | {"report.tex": "\n".join(body) + "\n"}


def _words(text: str) -> str:
    return escape(_cut(text, LONGEST_WORDS))


def _short(text: str) -> str:
    return escape(_cut(text, LONGEST_ENTRY))


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… [cut: {len(text):,} characters]"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Words):
        yield (rf"\textbf{{{_words(block.text)}}}" if block.caution else _words(block.text)) + "\n"
    elif isinstance(block, Command):
        yield rf"{{\raggedright\footnotesize\texttt{{{_short(block.text)}}}\par}}"
    elif isinstance(block, Terms):
        yield r"\begin{description}"
        yield from (rf"\item[{{{_short(name)}}}] {_words(said)}" for name, said in block.pairs)
        yield r"\end{description}"
    elif isinstance(block, Grid):
        yield from _grid(block)
    elif isinstance(block, Plot):
        picture = rf"\includegraphics[width=\textwidth]{{../figures/{block.key}.pdf}}"
        yield from _figure(block.key, block.caption, [picture])
    elif isinstance(block, Sheet):
        yield from _figure(block.key, block.caption, list(_strips(block)))


def _grid(grid: Grid) -> Iterator[str]:
    kinds = "".join("r" if i in grid.numeric else "X" for i in range(len(grid.head)))
    yield r"\begin{table*}[t]\centering\footnotesize"
    yield rf"\caption{{{_words(grid.caption)}}}\label{{tab:{grid.key}}}"
    yield rf"\begin{{tabularx}}{{\textwidth}}{{{kinds if 'X' in kinds else 'X' + kinds[1:]}}}\toprule"
    yield " & ".join(map(_short, grid.head)) + r" \\ \midrule"
    yield from (" & ".join(map(_short, row)) + r" \\" for row in grid.rows)
    yield r"\bottomrule\end{tabularx}\end{table*}"


def _figure(key: str, caption: str, body: list[str]) -> Iterator[str]:
    yield r"\begin{figure*}[t]\centering"
    yield from body
    yield rf"\caption{{{_words(caption)}}}\label{{fig:{key}}}"
    yield r"\end{figure*}"


def _strips(sheet: Sheet) -> Iterator[str]:
    most = max((len(strip.tiles) for strip in sheet.strips), default=1)
    width = f"{0.98 / most:.3f}"
    for i, strip in enumerate(sheet.strips):
        yield rf"{{\footnotesize\emph{{{_short(strip.title)}}}\par}}"
        for j, tile in enumerate(strip.tiles):
            below = rf"\scriptsize {_short(short_name(tile.label))}\\ {_short(tile.words)}"
            picture = rf"\includegraphics[width=\linewidth]{{../figures/{sheet.key}-{i}-{j}.jpg}}"
            yield rf"\begin{{minipage}}[t]{{{width}\textwidth}}\centering {picture}\\ {below}\end{{minipage}}"
        yield r"\par"
