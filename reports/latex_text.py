r"""Text and floats of LaTeX: names from anywhere are printed as they are, and no float is larger than its page."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from reports import wording

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
        "`": r"\textasciigrave{}",
        wording.BREAK: r"\allowbreak{}",
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
        "β": r"$\beta$",
        "²": r"\textsuperscript{2}",
    }
)
"""Brackets too: after a line break, \\\\, LaTeX would take [1.2, 3.4] for a distance."""
KNOWN = "–—‘’“”…†‡•"
"""Characters beyond Latin ones that LaTeX has."""
LONGEST_WORDS, LONGEST_CAPTION, LONGEST_ENTRY = 1200, 700, 320
"""Characters of a paragraph, a caption and an entry; what is longer is cut, and stands in report.json in full."""
PAGE = 54
"""Lines of small print that fit on a page below a caption."""
ACROSS, ABREAST = 120, 56
"""Characters of small print on a line across the page, and in one of two columns."""
GUARD = r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"
"""Shrinks what is wider than its place: names can be as long as somebody likes."""


def escape(text: str) -> str:
    r"""Return text that LaTeX prints as it is, on one line; letters that it has no fonts for as their number.

    >>> print(escape("50% of my_model"))
    50\% of my\_model
    """
    shown = wording.breakable(" ".join(text.split())).translate(SPECIAL)
    shown = re.sub("-(?=-)", "-{}", shown)  # else two hyphens are a dash
    return "".join(one if _is_known(one) else rf"{{[}}U+{ord(one):04X}{{]}}\allowbreak{{}}" for one in shown)


def _is_known(letter: str) -> bool:
    return ord(letter) < 0x180 or letter in KNOWN


def length(text: str) -> int:
    """Return how many letters a text is printed with.

    >>> length("SAM"), length("漢字")
    (3, 16)
    """
    return sum(1 if _is_known(one) or ord(one) in SPECIAL else 8 for one in text)


def words(text: str) -> str:
    """Return a paragraph, cut where it is too long."""
    return escape(wording.cut(text, LONGEST_WORDS))


def caption(text: str) -> str:
    """Return a caption, cut where it would push its float off the page."""
    return escape(wording.cut(text, LONGEST_CAPTION))


def entry(text: str) -> str:
    """Return an entry of a table, or a heading, cut where it is too long."""
    return escape(wording.cut(text, LONGEST_ENTRY))


def label(name: str) -> str:
    r"""Return what may stand in \label and \input.

    >>> label("}\\input{/etc/passwd}"), label("table4-micro")
    ('input-etc-passwd', 'table4-micro')
    """
    return re.sub(r"[^A-Za-z0-9-]+", "-", name)[:60].strip("-") or "table"


def lines_of(texts: Sequence[str], width: int) -> int:
    """Return how many lines some paragraphs take."""
    return sum(math.ceil(length(text) / width) for text in texts)


def pages(groups: Sequence[Sequence[str]], room: int = PAGE) -> Iterator[list[str]]:
    """Yield the lines of groups that stay together, as many as fit on a page at a time."""
    page: list[str] = []
    for group in groups:
        if page and len(page) + len(group) > room:
            yield page
            page = []
        page += group
    yield page


def float_of(kind: str, where: str, above: str, key: str, body: Sequence[str], below: Sequence[str] = ()) -> str:
    """Return a float with its caption above; a table wider than its place is shrunk.

    Args:
        kind: table or table*.
        where: it may stand, as LaTeX has it.
        above: the caption, escaped.
        key: of its label, empty for none.
        body: a tabular.
        below: what stands under it.
    """
    lines = [
        rf"\begin{{{kind}}}[{where}]",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{above}}}" + (rf"\label{{tab:{key}}}" if key else ""),
        r"\sbox0{%",
        *body,
        "}" + GUARD,
        *below,
        rf"\end{{{kind}}}",
    ]
    return "\n".join(lines)


def small_print(texts: Sequence[str]) -> str:
    """Return escaped notes, a paragraph each."""
    return "\n".join([r"{\footnotesize\raggedright", *(rf"{text}\par" for text in texts), "}"])
