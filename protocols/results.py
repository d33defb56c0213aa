"""What scoring a table yields: plain data that reports render and regression compares, without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np

Status = Literal[
    "measured",
    "copied",
    "quoted",
    "no public weights",
    "weights missing",
    "not trained yet",
    "data missing",
    "not supported",
    "not requested",
]

Level = Literal["mean", "records"]
"""What the regression gate compares: the number of a cell, or the records behind it."""

OVER_IMAGES = "paired over the same images"
"""How rows are compared, usually."""
OPTIONAL = frozenset({"interval", "pairing", "row_head", "x", "against", "own"})
"""Fields of a `TableResult` that its plain form holds only where they are not as usual."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a paper table."""

    key: str
    """As in protocols/paper/tableN.csv, e.g. coco_1click."""
    label: str
    """As the paper prints it, e.g. 1 click."""
    group: str
    """The heading above it, e.g. COCO."""
    percent: bool = True
    """Values are 0..1 inside and printed x 100; False: printed as they are."""
    apart: str = ""
    """Choices that are not the paper's and matter for this column: none of its numbers is compared with the paper's.
    Empty: all are the paper's."""
    less: bool = False
    """Whether less is better; of other percentages more is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a method of the paper, or a frame (floor, ceiling), or a model of the user's."""

    label: str
    """As the paper prints it."""
    model: str | None
    """Name of the model that was measured, None if nothing was."""
    kind: Literal["paper", "bound", "extra"] = "paper"
    note: str = ""
    """What a reader must know about this row: custom checkpoint, micro model, not SAMI-pretrained, ..."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One number: the paper's beside ours."""

    row: str
    column: str
    status: Status
    paper: float | None = None
    """0..1 for percent columns; None where the paper has no such cell."""
    measured: float | None = None
    low: float | None = None
    """Lower end of the result's 95 % interval."""
    high: float | None = None
    n: int = 0
    """Number of prompts (Table 4), detections (Table 5) or images behind the number."""
    why: str = ""
    """Why there is no number, or what to do to get one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference the paper claims (first - second) and ours, paired as the result says."""

    first: str
    second: str
    column: str
    paper: float | None
    measured: float | None
    low: float | None
    high: float | None
    verdict: str
    """'same order', 'opposite order', 'not decided' (the interval holds 0), 'not measured' or 'not claimed'; details
    may follow in brackets, e.g. 'not decided (p = 0.31)'."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A comparison of the regression gate: of what a table gave with what is expected of it."""

    table: str
    row: str
    column: str
    """Key of the table's column; of records that belong to all columns of a data set, the data set."""
    level: Level
    difference: float
    """Of means: found - expected. Of records: the share that moved, 0..1."""
    tolerance: float
    why: str
    """Where the tolerance comes from."""
    expected: float | None = None
    """Of means."""
    found: float | None = None
    percent: bool = True
    """Whether the column's numbers are printed x 100."""
    said: str = ""
    """More about it in words."""
    drifted: bool = False


@dataclass(frozen=True, slots=True)
class TableResult:
    """Everything a report says about one table."""

    name: str
    """table4, table5, ..."""
    title: str
    scale: str
    """'paper', 'micro' or 'mixed'; printed in every output."""
    world: str
    """One line on the data and models that were used and why."""
    comparable: bool
    """True if measured and paper numbers speak of the same data and full-size models: a difference means something."""
    preset: str
    """Whose evaluation protocol; empty where there is but one."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    comparisons: tuple[Comparison, ...] = ()
    footnotes: tuple[str, ...] = ()
    command: str = ""
    """The command that makes this table again."""
    provenance: dict[str, Any] = field(default_factory=dict)
    interval: str = "95 % bootstrap interval over images"
    """What the intervals of cells are."""
    pairing: str = OVER_IMAGES
    """How comparisons are made."""
    row_head: str = "method"
    """What a row is; the axis of a curve."""
    x: tuple[float, ...] = ()
    """Places of the rows on a logarithmic axis, for results that are curves; empty: rows are methods."""
    against: str = ""
    """Key of the column that the others are drawn against, for results that are trade-offs."""
    own: str = ""
    """Name of data of the user's own, of which no paper has numbers; empty for others."""
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """PNGs that are written beside the table, by what follows its name in theirs; no part of its plain form."""

    @property
    def stem(self) -> str:
        """Return what files of the result are called: its name, with that of the user's own data.

        >>> TableResult("table4", "", "paper", "", False, "", (), (), (), own="my photos, 2").stem
        'table4-my-photos-2'
        """
        return "-".join([self.name, *re.findall(r"[\w.]+", self.own)])

    def cell(self, row: str, column: str) -> Cell:
        """Return one cell; every row x column has one."""
        return next(cell for cell in self.cells if cell.row == row and cell.column == column)

    def to_json(self) -> dict[str, Any]:
        """Return the plain form that JSON holds; what is as in most tables is left out."""
        plain = asdict(replace(self, pictures={}))
        del plain["pictures"]
        usual = {f.name: f.default for f in fields(self) if f.name in OPTIONAL}
        return {name: value for name, value in plain.items() if name not in usual or value != usual[name]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TableResult:
        """Rebuild from `to_json`."""
        kinds: dict[str, Any] = {"columns": Column, "rows": Row, "cells": Cell, "comparisons": Comparison}
        plain: dict[str, Any] = {k: v for k, v in data.items() if k not in kinds}
        plain["footnotes"] = tuple(plain.get("footnotes", ()))
        plain["x"] = tuple(plain.get("x", ()))
        plain.update({key: tuple(kind(**entry) for entry in data[key]) for key, kind in kinds.items()})
        return cls(**plain)


class Tile(NamedTuple):
    """One picture among others."""

    label: str
    """What it shows: input, truth, or the row of the model whose answer it is."""
    image: np.ndarray
    """uint8 [H, W, 3] RGB."""
    words: str = ""
    """What is known of it, such as its IoU."""
    iou: float | None = None
    """With the truth, 0..1; None where there is none."""


class Strip(NamedTuple):
    """Pictures of one thing, side by side."""

    title: str
    tiles: tuple[Tile, ...]


class ShownAnswer(NamedTuple):
    """What one run answered."""

    iou: float
    """With the truth, 0..1."""
    predicted_iou: float | None
    """The model's own estimate, or a detector's score; None where it has none."""
    counts: str = ""
    """The mask as COCO's compressed run lengths; empty where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownInstance:
    """One prompt about an object, one detection or one object of a photo, with one answer a run."""

    object_id: int | None
    """Of the annotation; None of a detection that overlaps no object of its category."""
    category_id: int
    area: float
    """Of the object, or of a detection that overlaps none, px."""
    size: str
    """small, medium or large, as COCO has it."""
    prompt: str
    repeat: int
    points: tuple[tuple[float, float, int], ...]
    """x, y (px) and label of what was asked, as `models.segmenter.Prompts` has them; empty where it is not known."""
    truth: str
    """The object as COCO's compressed run lengths; empty where there is none."""
    answers: tuple[ShownAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPhoto:
    """A photo and the instances in it."""

    id: int
    name: str
    height: int
    """px, as masks and points have it."""
    width: int
    file: str
    """Of its picture, as a page beside it says; empty where the photo cannot be read."""
    instances: tuple[ShownInstance, ...]
