"""The letters of a report, carried in its page: of the fonts that matplotlib has, those letters that the page uses."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import matplotlib
from fontTools import subset
from fontTools.ttLib import TTFont

FAMILY = "Report"
"""What style sheets call it."""
FALLBACK = f"'{FAMILY}', 'STIX Two Text', 'Times New Roman', 'Liberation Serif', Times, serif"
"""With what stands in for letters that it lacks."""
FACES = {
    "": ("STIXGeneral.ttf", "normal", "normal"),
    "bold": ("STIXGeneralBol.ttf", "bold", "normal"),
    "italic": ("STIXGeneralItalic.ttf", "normal", "italic"),
    "bold italic": ("STIXGeneralBolIta.ttf", "bold", "italic"),
}
"""File, weight and style."""
USUAL = "".join(map(chr, range(0x20, 0x7F))) + "–—‘’“”…±−×·≥≤≈→°µ²"
"""Letters that are always there, so that reports share most of their fonts."""


def folder() -> Path:
    """Return the folder of matplotlib's fonts."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def face_rules(text: str, faces: Iterable[str] = tuple(FACES)) -> str:
    """Return style rules that carry the letters of a text, and the usual ones, in some faces."""
    letters = "".join(sorted(set(USUAL) | {one for one in text if one.isprintable()}))
    return "\n".join(_rule(face, letters) for face in faces)


@cache
def _rule(face: str, letters: str) -> str:
    file, weight, style = FACES[face]
    data = base64.b64encode(_subset(folder() / file, letters)).decode()
    return (
        f"@font-face {{ font-family: '{FAMILY}'; font-weight: {weight}; font-style: {style}; "
        f"src: url(data:font/woff;base64,{data}) format('woff'); }}"
    )


def _subset(path: Path, letters: str) -> bytes:
    """Return a font as WOFF with some letters alone, the same bytes on every run."""
    options = subset.Options(
        flavor="woff", layout_features=["kern", "liga"], notdef_outline=True, recalc_timestamp=False
    )
    options.drop_tables += ["FFTM"]
    with TTFont(path, recalcTimestamp=False) as font:
        cutter = subset.Subsetter(options)
        cutter.populate(text=letters)
        cutter.subset(font)
        font.flavor = "woff"
        file = io.BytesIO()
        font.save(file)
    return file.getvalue()
