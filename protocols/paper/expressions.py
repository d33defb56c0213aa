"""What a claim is about, written over cells of the paper's tables: read as data, never run.

    table4[EfficientSAM-Ti].coco_box                                       a number
    table4[EfficientSAM-Ti].coco_box - table4[MobileSAM].coco_box          a difference (or `/`, a ratio)
    table4[EfficientSAM-Ti].* > table4[SAM-MAE-Ti].*                       an order, here in every column (or `>=`)
    table1[SAMI-B].top1 > table1[*].top1                                   above each other row of that backbone

Several are joined by `and`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from models.errors import BenchError
from protocols.paper import paper_table

Sign = Literal["", "-", "/", ">", ">="]
EVERY = "*"
_PLACE = r"(\w+)\[([^\]]+)\]\.([\w*-]+)"
_PART = re.compile(rf"{_PLACE}(?: (-|/|>|>=) {_PLACE})?")


class Place(NamedTuple):
    """A cell of a table or figure."""

    table: str
    row: str
    column: str


class Part(NamedTuple):
    """A number, or two of one table and how they are set against each other."""

    first: Place
    sign: Sign
    second: Place | None

    @property
    def words(self) -> str:
        """Return it without the table.

        >>> Part(Place("table4", "SAM", "coco_box"), "-", Place("table4", "MobileSAM", "coco_box")).words
        'SAM - MobileSAM, coco_box'
        """
        rows = self.first.row if self.second is None else f"{self.first.row} {self.sign} {self.second.row}"
        return f"{rows}, {self.first.column}"


def read(expression: str) -> tuple[Part, ...]:
    """Return the parts of an expression, those with `*` one by one.

    Raises:
        BenchError: if it cannot be read, or names a row or column that the table has not.
    """
    return tuple(
        part for text in re.split(r" and (?=\w+\[)", expression) for part in _expanded(_part(text), expression)
    )


def _part(text: str) -> Part:
    found = _PART.fullmatch(text.strip())
    if found is None:
        raise BenchError(f"cannot read '{text}' in a claim: write table4[ROW].COLUMN - table4[ROW].COLUMN")
    first, sign, second = Place(*found.groups()[:3]), found[4] or "", found.groups()[4:]
    other = Place(*second) if sign else None
    if other and (other.table != first.table or other.column != first.column):
        raise BenchError(f"'{text}' sets two tables or columns against each other: take one")
    return Part(first, sign, other)  # type: ignore[arg-type]


def _expanded(part: Part, expression: str) -> Iterator[Part]:
    """Yield a part for each column and each row that it stands for."""
    table, row, column = part.first
    frame = paper_table(table)
    columns = list(frame.select_dtypes("number").columns) if column == EVERY else [column]
    others = [] if part.second is None else _others(part, expression) if part.second.row == EVERY else [part.second.row]
    for name in (row, *others):
        if name not in frame.index:
            raise BenchError(f"{table} has no row '{name}', which the claim '{expression}' names: correct it")
    for key in columns:
        if key not in frame.columns:
            raise BenchError(f"{table} has no column '{key}', which the claim '{expression}' names: correct it")
        for other in others:
            yield Part(Place(table, row, key), part.sign, Place(table, other, key))
        if part.second is None:
            yield Part(Place(table, row, key), "", None)


def _others(part: Part, expression: str) -> list[str]:
    """Return the other rows of the same backbone."""
    frame = paper_table(part.first.table)
    if "backbone" not in frame.columns or part.first.row not in frame.index:
        raise BenchError(f"'{expression}' takes each other row of a backbone, which {part.first.table} does not name")
    same = frame.index[frame["backbone"] == frame.at[part.first.row, "backbone"]]
    return [str(label) for label in same if label != part.first.row]
