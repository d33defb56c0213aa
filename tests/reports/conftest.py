"""Realistic tables 4 and 5 made by hand: the paper's numbers, moved a little, with every kind of gap."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocols.results import Cell, Column, Comparison, Row, TableResult

PAPER = Path(__file__).resolve().parents[2] / "protocols" / "paper"
LABELS = {
    "box": "box",
    "1click": "1 click",
    "3click": "3 click",
    "ap": "AP",
    "ap_s": "AP_S",
    "ap_m": "AP_M",
    "ap_l": "AP_L",
}
TITLES = {
    "table4": "Table 4: zero-shot mIoU with points and boxes",
    "table5": "Table 5: zero-shot instance segmentation with ViTDet boxes",
}
FRAMES = {
    "table4": (Row("floor", "floor", "bound", "the box filled, or a disc around the click"), 0.52),
    "table5": (Row("floor", "floor", "bound", "the detector's box filled"), 0.191),
}
CEILING = Row("ceiling", "ceiling", "bound", "the ground truth through the same resize and encode")
COMPARED = (
    ("SAM", "EfficientSAM-S"),
    ("EfficientSAM-S", "EfficientSAM-Ti"),
    ("EfficientSAM-Ti", "MobileSAM"),
    ("EfficientSAM-Ti", "SAM-MAE-Ti"),
    ("EfficientSAM-S", "FastSAM"),
)
COPIED = "ViTDet-H", "FastSAM"
UNRELEASED = "SAM-MAE-Ti"
PROVENANCE = {
    "git": {"commit": "e6cace3f0d", "dirty": False},
    "versions": {"torch": "2.14.1", "hotcoco": "1.3.0"},
    "hardware": {"cpu": "Zen 4", "cores": 2, "gpu": None},
    "hashes": {"coco": "9f86d081884c7d65"},
}


def _shift(i: int, j: int) -> float:
    """A difference of up to 1.5 points that looks like chance and is the same on every machine."""
    return ((7 * i + 5 * j + 3 * i * j) % 31 - 15) / 1000


def _cell(row: str, column: str, paper: float, i: int, j: int, factor: float) -> Cell:
    if row in COPIED:
        return Cell(row, column, "copied", paper, why="the paper took this row from the SAM paper")
    if row == UNRELEASED:
        return Cell(row, column, "no public weights", paper, why="train it: nox -s train_promptable")
    if row == "SAM" and column.startswith("lvis"):
        return Cell(row, column, "data missing", paper, why="put LVIS v1 val under $BENCH_DATA/lvis")
    if row == "MobileSAM" and column == "coco_3click":
        return Cell(row, column, "weights missing", paper, why="python -m bench weights mobilesam")
    measured = round(paper * factor + _shift(i, j), 5)
    half = 0.0042 + 0.0003 * j
    return Cell(row, column, "measured", paper, measured, measured - half, measured + 1.2 * half, n=36335)


def make_table(name: str, *, comparable: bool = True) -> TableResult:
    """Make a table from the paper's numbers: at paper scale, or, not comparable, at micro scale."""
    with (PAPER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    keys = [key for key in lines[0] if key not in {"method", "provenance"}]
    columns = tuple(Column(key, LABELS[key.split("_", 1)[1]], key.split("_")[0].upper()) for key in keys)
    methods = tuple(Row(line["method"], line["method"].lower()) for line in lines)
    factor = 1.0 if comparable else 0.86
    cells = [
        _cell(line["method"], key, round(float(line[key]) / 100, 5), i, j, factor)
        for i, line in enumerate(lines)
        for j, key in enumerate(keys)
    ]
    floor, low = FRAMES[name]
    for frame, value in ((floor, low), (CEILING, 0.947 if name == "table4" else 0.487)):
        cells += [Cell(frame.label, key, "measured", None, value - 0.01 * j, n=36335) for j, key in enumerate(keys)]
    return TableResult(
        name=name,
        title=TITLES[name],
        scale="paper" if comparable else "micro",
        world=(
            "COCO val2017 and LVIS v1 val with the official checkpoints, found under $BENCH_DATA"
            if comparable
            else "dead leaves at 256 px and the committed micro models, because $BENCH_DATA is not set"
        ),
        comparable=comparable,
        preset="paper",
        columns=columns,
        rows=(*methods, floor, CEILING),
        cells=tuple(cells),
        comparisons=_comparisons(keys, cells),
        footnotes=("clicks are drawn with seed 0, one repeat",),
        command=f"python -m bench {name} --scale {'paper' if comparable else 'micro'}",
        provenance=PROVENANCE,
    )


def _comparisons(keys: list[str], cells: list[Cell]) -> tuple[Comparison, ...]:
    """Compare every column of each pair, with intervals that decide some and leave some open."""
    found = {(cell.row, cell.column): cell for cell in cells}
    return tuple(
        _comparison(found[first, key], found[second, key])
        for first, second in COMPARED
        if (first, keys[0]) in found and (second, keys[0]) in found
        for key in keys
    )


def _comparison(first: Cell, second: Cell) -> Comparison:
    assert first.paper is not None
    assert second.paper is not None
    paper = round(first.paper - second.paper, 5)
    names = first.row, second.row, first.column
    if first.measured is None or second.measured is None:
        return Comparison(*names, paper, None, None, None, "not measured")
    ours = round(first.measured - second.measured, 5)
    low, high = ours - 0.0082, ours + 0.0079
    verdict = "not decided" if low <= 0 <= high else "same order" if ours * paper > 0 else "opposite order"
    return Comparison(*names, paper, ours, low, high, verdict)


@pytest.fixture
def table4() -> TableResult:
    return make_table("table4")


@pytest.fixture
def table5() -> TableResult:
    return make_table("table5")


@pytest.fixture
def micro4() -> TableResult:
    return make_table("table4", comparable=False)


@pytest.fixture
def micro5() -> TableResult:
    return make_table("table5", comparable=False)


@pytest.fixture
def with_cell(table4: TableResult) -> Callable[..., TableResult]:
    """Table 4 with one cell's fields replaced: with_cell("SAM", "coco_box", measured=0.5)."""

    def change(row: str, column: str, **fields: Any) -> TableResult:
        cells = tuple(
            replace(cell, **fields) if (cell.row, cell.column) == (row, column) else cell for cell in table4.cells
        )
        return replace(table4, cells=cells)

    return change


SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture
def snapshot() -> Callable[[str, str], None]:
    """Compare text with the file kept for it; BENCH_NEW_SNAPSHOTS=1 keeps the text instead."""

    def compare(name: str, text: str) -> None:
        path = SNAPSHOTS / name
        if os.environ.get("BENCH_NEW_SNAPSHOTS") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), "set BENCH_NEW_SNAPSHOTS=1 if this change is meant"

    return compare
