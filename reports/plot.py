"""The paper's numbers against ours: a small panel a column, a line a method, our 95 % intervals as whiskers.

Results whose rows are places on an axis are drawn as curves instead.

Where the two are comparable they share an axis. Where they are not, the paper's markers have an axis of
their own above the panel, in their own colour, and all markers carry their rank: the order of methods is all
that can then be compared.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from protocols.results import Column, TableResult
from reports import wording
from reports.curve import draw_curve
from reports.dataframe import lines
from reports.panel import DASHES, Theme, draw_panel
from reports.scatter import draw_tradeoff

STYLE = Path(__file__).parent / "paper.mplstyle"
WIDTH = 7.2
"""Inches: the text width of a printed page."""

PANELS_ABREAST, CURVES_ABREAST = 4, 2
CURVE_HEIGHT = 2.6
"""Inches of a panel that holds a curve."""

CHARACTERS = 120
"""Of small print on a line of the figure."""

PRINTED_WIDTH = 6.0
"""Inches of a figure whose font is `SERIF`, which runs narrower; it is printed at the width of the text."""
SERIF = ("STIXGeneral", "DejaVu Sans")
"""Fonts of figures in a paper, and of its text: Times' look, and another for letters that it lacks. matplotlib has the
files of both."""

LIGHT = Theme("#0072B2", "#B34700", "#1b1f24", "#6b7280", "#e3e6ea", "#ffffff")
DARK = Theme("#56B4E9", "#F0A030", "#e6e9ee", "#98a1ad", "#333a44", "#14181d")


class Pictures(NamedTuple):
    """One figure as files' bytes, the same on every run."""

    png: bytes
    svg: bytes


def pictures(result: TableResult, frame: pd.DataFrame) -> Pictures:
    """Draw the figure of a result once and return it as PNG and SVG, both light."""
    figure = draw(result, frame)
    with matplotlib.style.context([str(STYLE), LIGHT.settings()]):
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png")
        # The layout is found, and costs half of the time: the second file need not find it again.
        figure.set_layout_engine("none")
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return Pictures(png.getvalue(), svg.getvalue())


class Printed(NamedTuple):
    """One figure for a paper, without a heading since a caption says it, as files' bytes, the same on every run."""

    svg: bytes
    """Its text is text, in the fonts `SERIF`."""
    png: bytes
    pdf: bytes


def printed(result: TableResult, frame: pd.DataFrame) -> Printed:
    """Draw the figure of a result for a paper, light."""
    settings = {"font.family": list(SERIF), "svg.fonttype": "none", "pdf.fonttype": 42}
    figure = draw(result, frame, settings=settings, width=PRINTED_WIDTH, heading=False)
    files = {}
    with matplotlib.style.context([str(STYLE), LIGHT.settings(), settings]):
        for kind, metadata in (("svg", {"Date": None}), ("png", {}), ("pdf", {"CreationDate": None})):
            file = io.BytesIO()
            figure.savefig(file, format=kind, metadata=metadata)
            figure.set_layout_engine("none")
            files[kind] = file.getvalue()
    return Printed(**files)


def recolour(svg: bytes, theme: Theme) -> bytes:
    """Return a light SVG in the colours of another theme."""
    colours = {getattr(LIGHT, field.name).lower(): getattr(theme, field.name).lower() for field in fields(Theme)}
    pattern = re.compile("|".join(colours))
    return pattern.sub(lambda match: colours[match.group()], svg.decode()).encode()


def draw(
    result: TableResult,
    frame: pd.DataFrame,
    theme: Theme = LIGHT,
    *,
    settings: Mapping[str, Any] = MappingProxyType({}),
    width: float = WIDTH,
    heading: bool = True,
) -> Figure:
    """Return the figure of a result, not laid out yet; no pyplot, so it needs no display and no closing.

    Args:
        result: the table.
        frame: its frame.
        theme: its colours.
        settings: of matplotlib, over the style file's.
        width: inches.
        heading: whether title and setting stand above the panels.
    """
    grid = list(_grid(result.columns, CURVES_ABREAST if result.x else PANELS_ABREAST))
    if result.against:
        grid = [[column for column in result.columns if column.key != result.against]] * 2
    wide = max(map(len, grid))
    with matplotlib.style.context([str(STYLE), theme.settings(), dict(settings)]):
        figure = Figure(figsize=(width, _height(result, len(grid), heading)), layout="constrained")
        axes = figure.subplots(len(grid), wide, sharey=not result.against, squeeze=False)
        if result.against:
            draw_tradeoff(axes, result, frame, theme)
        else:
            _panels(axes, grid, result, frame, theme)
        if heading:
            _header(figure, result, theme)
        figure.legend(handles=_handles(result, theme), loc="outside lower center", ncols=5)
    return figure


def _panels(axes: Any, grid: list[list[Column]], result: TableResult, frame: pd.DataFrame, theme: Theme) -> None:
    """Draw a panel a column, lines of a curve or of methods."""
    draw_column = draw_curve if result.x else draw_panel
    for places, columns in zip(axes, grid, strict=True):
        for place, column in zip(places, columns, strict=False):
            draw_column(place, lines(frame[frame["column"] == column.key]), result, theme)
        for spare in places[len(columns) :]:
            spare.set_axis_off()


def _grid(columns: Sequence[Column], abreast: int) -> Iterator[list[Column]]:
    """Yield the columns of each line of panels: a data set a line, wrapped where it has more than fit abreast."""
    for _, group in groupby(columns, key=lambda column: column.group):
        members = list(group)
        yield from (members[i : i + abreast] for i in range(0, len(members), abreast))


def _height(result: TableResult, panels: int, heading: bool) -> float:
    """Return the figure's height in inches."""
    small = 0.13 * len(_small_print(result)) + 0.5 if heading else 0.3
    if result.x or result.against:
        return panels * CURVE_HEIGHT + small
    methods = sum(row.kind != "bound" for row in result.rows)
    panel = 0.9 + 0.25 * methods if result.comparable else 1.2 + 0.3 * methods
    return panels * panel + small


def _small_print(result: TableResult) -> list[str]:
    setting = textwrap.wrap(f"{wording.place(result)}: {result.world}", CHARACTERS)
    return setting + textwrap.wrap(wording.caution(result), CHARACTERS)


def _header(figure: Figure, result: TableResult, theme: Theme) -> None:
    """Write the title in bold and what scale it is below it, in room that the title's empty lines reserve."""
    small = _small_print(result)
    # Without a y of its own, constrained layout places the title 0.05 in from the edge and gives it room.
    figure.suptitle(result.title + "\n" * len(small), x=0.01, ha="left", weight="bold")
    top = 1 - 0.22 / float(figure.get_size_inches()[1])
    text = figure.text(0.01, top, "\n".join(small), va="top", linespacing=1.25, color=theme.muted)
    text.set_in_layout(False)


def _handles(result: TableResult, theme: Theme) -> list[Line2D]:
    word = wording.measured_word(result)
    if result.x:
        return [
            Line2D([], [], marker="o", color=theme.measured, ms=4, lw=1.2, label=f"{word}, band: {result.interval}")
        ]
    interval = "95 % interval" if result.interval.startswith("95 %") else result.interval
    handles = [Line2D([], [], marker="o", color=theme.measured, ms=5, lw=1.4, label=f"{word}, {interval}")]
    if wording.has_paper(result):
        paper = Line2D([], [], marker="D", ls="", mfc=theme.background, mec=theme.paper, ms=4.2, label="paper")
        handles.append(paper)
    if result.against:
        return handles
    frames = [row.label for row in result.rows if row.kind == "bound"]
    handles += [
        Line2D([], [], color=theme.muted, lw=0.9, ls=DASHES[i % len(DASHES)], label=label)
        for i, label in enumerate(frames)
    ]
    if not result.comparable and wording.has_paper(result):
        handles.append(Line2D([], [], ls="", label="digits: ranks, of methods with both"))
    return handles
