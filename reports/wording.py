"""How numbers, marks and headings read: one wording for every output of a report."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import PurePath
from typing import Any, TypeVar

from models.errors import printable
from protocols.results import Row, TableResult

T = TypeVar("T")

NO_DIFFERENCE = "·"
"""Stands in the difference column of a result that is not comparable with the paper."""

OUTSIDE = "*"

_STATUSES = {
    "measured": ("undefined", "measured, but there was nothing to take the mean of"),
    "copied": ("copied", "the paper copied this number from another paper"),
    "quoted": ("quoted", "another method's number, quoted from the paper"),
    "no public weights": ("unreleased", "the authors released no weights"),
    "weights missing": ("no weights", "the weights are not on this machine"),
    "not trained yet": ("untrained", "nobody has trained this here yet"),
    "data missing": ("no data", "the data is not on this machine"),
    "not supported": ("refused", "the model cannot take such prompts"),
    "not requested": ("–", "not asked for in this run"),
}
MARKS = {status: mark for status, (mark, _) in _STATUSES.items()}
"""What stands in place of a measured number, by status."""
LEGEND = {status: meaning for status, (_, meaning) in _STATUSES.items()}
"""What that means."""

CAUTION = "Not comparable with the paper's numbers: other data, models or arithmetic; no difference is given."


LONGEST_NAME = 32
"""Characters of a row's name in a figure."""
BREAK = "\u200b"
"""Stands where a line may break; names never have it, `tame` writes it out."""
UNBROKEN = 20
"""Characters without a blank after which a line may break."""


def short_name(name: str) -> str:
    """Return a row's name for a figure: where it is too long, without folders, and cut.

    >>> short_name("EfficientSAM-Ti"), short_name("onnx:exports/sam.encoder.onnx,exports/sam.decoder.onnx")
    ('EfficientSAM-Ti', 'onnx:sam.encoder.onnx,sam.decod…')
    """
    if len(name) > LONGEST_NAME:
        name = "".join(part.rpartition("/")[2] for part in re.split("([,:=?&])", name))
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def cut(text: str, longest: int) -> str:
    """Return text that is no longer than a page can take, with a note where some of it is left out.

    >>> cut("short", 9), cut("n" * 1000, 4)
    ('short', 'nnnn… [cut: 1,000 characters]')
    """
    return text if len(text) <= longest else f"{text[:longest]}… [cut: {len(text):,} characters]"


def breakable(text: str) -> str:
    """Return text whose long words may break.

    >>> breakable("one " + "n" * 25).split(BREAK)
    ['one nnnnnnnnnnnnnnnnnnnn', 'nnnnn']
    """
    return re.sub(rf"\S{{{UNBROKEN}}}(?=\S{{4}})", lambda match: f"{match[0]}{BREAK}", text)


def tame(value: T) -> T:
    r"""Return a result, or a part of one, with every text in it as `printable` writes it: names come from anywhere.

    >>> tame({"model": ("a\x1b[1m", 2)})
    {'model': ('a\\x1b[1m', 2)}
    """
    found: Any = value
    if isinstance(found, str | PurePath):
        found = printable(str(found))
    elif is_dataclass(found) and not isinstance(found, type):
        found = replace(found, **{field.name: tame(getattr(found, field.name)) for field in fields(found)})
    elif isinstance(found, Mapping):
        found = {tame(key): tame(item) for key, item in found.items()}
    elif isinstance(found, tuple) and hasattr(found, "_fields"):
        found = type(found)(*map(tame, found))
    elif isinstance(found, list | tuple):
        found = type(found)(map(tame, found))
    return found  # type: ignore[no-any-return]


def isolated(text: str) -> str:
    """Return text whose letters that run from right to left do not turn what stands beside it.

    >>> isolated("SAM"), len(isolated("אב"))
    ('SAM', 4)
    """
    turns = any(unicodedata.bidirectional(one) in ("R", "AL", "AN") for one in text)
    return f"\u2068{text}\u2069" if turns else text


def number(value: float, percent: bool = True) -> str:
    """Return a value as a table prints it: x 100 with one decimal, or three digits where it is no percentage.

    >>> number(0.7534), number(636.04, percent=False), number(float("nan"))
    ('75.3', '636', '')
    """
    if not math.isfinite(value):
        return ""
    if percent:
        text = f"{100 * value:.1f}"
    else:
        magnitude = math.floor(math.log10(abs(value))) if value else 0
        text = f"{value:.{min(max(2 - magnitude, 0), 4)}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def signed(value: float, percent: bool = True) -> str:
    """Return a difference with its sign.

    >>> signed(0.018), signed(-0.0004), signed(-0.021)
    ('+1.8', '0.0', '-2.1')
    """
    text = number(value, percent)
    return f"+{text}" if text and float(text) > 0 else text


def bracket(low: float, high: float, percent: bool = True, *, sign: bool = False) -> str:
    """Return an interval; a question mark stands for an end that could not be computed, '' for no ends.

    >>> bracket(0.741, 0.764), bracket(float("nan"), 0.764), bracket(float("nan"), float("nan"))
    ('[74.1, 76.4]', '[?, 76.4]', '')
    """
    if math.isnan(low) and math.isnan(high):
        return ""
    show = signed if sign else number
    return f"[{show(low, percent) or '?'}, {show(high, percent) or '?'}]"


def plus_minus(value: float, low: float, high: float, percent: bool = True) -> str:
    """Return the wider side of an interval: bootstrap intervals lean, and the short form must not flatter.

    >>> plus_minus(0.753, 0.741, 0.764), plus_minus(0.753, float("nan"), 0.764)
    ('±1.2', '±?')
    """
    if math.isnan(low) and math.isnan(high):
        return ""
    # max() of a NaN depends on the order of its arguments, so an unknown end is kept out of it.
    if math.isnan(low) or math.isnan(high):
        return "±?"
    return f"±{number(max(high - value, value - low, 0.0), percent)}"


def difference(value: float, outside: bool, comparable: bool, percent: bool = True) -> str:
    """Return the entry of the difference column: nothing but a dot where the result is not comparable."""
    if not comparable:
        return NO_DIFFERENCE
    return signed(value, percent) + (OUTSIDE if outside else "")


def caution(result: TableResult) -> str:
    """Return what a reader must be warned of, nothing where the paper's numbers can be compared with."""
    if result.comparable:
        return ""
    return "Data of the user's own: no paper has numbers of them." if result.own else CAUTION


def place(result: TableResult) -> str:
    """Return where numbers hold: the scale, or the user's own data."""
    return f"own data ({result.own})" if result.own else f"{result.scale} scale"


def setting(result: TableResult) -> str:
    """Return where numbers hold and, where there are several, the evaluation protocol."""
    return place(result) + (f", preset {result.preset}" if result.preset else "")


def verdict_word(verdict: str) -> str:
    """Return a verdict without its details.

    >>> verdict_word("not decided (p = 0.31)")
    'not decided'
    """
    return verdict.partition(" (")[0]


def verdict_details(verdict: str) -> str:
    """Return what stands in brackets after a verdict.

    >>> verdict_details("not decided (p = 0.31)"), verdict_details("same order")
    ('p = 0.31', '')
    """
    return verdict.partition(" (")[2].removesuffix(")")


def measured_word(result: TableResult) -> str:
    """Return the heading over our numbers: below paper scale its name, lest they pass for others."""
    return "measured" if result.scale == "paper" or result.own else result.scale


def has_paper(result: TableResult) -> bool:
    """Return whether the paper has any number or claim of such a table on such data."""
    if result.own:
        return False
    printed = [cell.paper for cell in result.cells] + [one.paper for one in result.comparisons]
    return any(value is not None for value in printed)


def group_name(result: TableResult, group: str) -> str:
    """Return the heading over a data set's columns: micro data has the format of COCO, not its name."""
    return group if result.scale == "paper" or result.own or not group else f"{group} ({result.scale})"


def note_letters(rows: Iterable[Row]) -> dict[str, str]:
    """Return a letter for each different note, in the order of the rows.

    >>> note_letters([Row("SAM", "sam"), Row("A", "a", note="my own"), Row("B", "b", note="my own")])
    {'my own': 'a'}
    """
    notes = dict.fromkeys(row.note for row in rows if row.note)
    return {note: chr(ord("a") + i) if i < 26 else f"n{i}" for i, note in enumerate(notes)}


def notes(result: TableResult) -> list[tuple[str, str]]:
    """Return what stands below a table: row notes with their letters, then footnotes with none."""
    lettered = [(letter, note) for note, letter in note_letters(result.rows).items()]
    return lettered + [("", footnote) for footnote in dict.fromkeys(result.footnotes)]


def flatten(provenance: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested provenance as lines of (dotted name, value).

    >>> flatten({"git": {"commit": "e6ac", "dirty": False}, "threads": 2})
    [('git.commit', 'e6ac'), ('git.dirty', 'false'), ('threads', '2')]
    """
    lines: list[tuple[str, str]] = []
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            lines += flatten(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            lines.append((f"{prefix}{key}", value))
        else:
            lines.append((f"{prefix}{key}", json.dumps(value, default=str)))
    return lines
