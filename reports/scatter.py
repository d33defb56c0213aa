"""Trade-offs: a column of the table against another one of the same rows, our numbers above the paper's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from protocols.results import TableResult
from reports import wording
from reports.dataframe import Line, lines
from reports.panel import Theme

ROOM = 1.6
"""Factor of room beside the points on the logarithmic axis: names stand there."""


def draw_tradeoff(grid: Any, result: TableResult, frame: pd.DataFrame, theme: Theme) -> None:
    """Draw each column against `result.against`, ours in a first line of panels, the paper's in a second.

    The paper's are of other data or another machine, so that only shapes can be compared. Artists carry a gid:
    'measured', 'interval', 'paper', 'name', 'reason'.

    Args:
        grid: Axes [2, columns].
        result: with `against`.
        frame: of the result.
        theme: colours.
    """
    across = lines(frame[frame["column"] == result.against])
    others = [column for column in result.columns if column.key != result.against]
    for place, column in enumerate(others):
        values = lines(frame[frame["column"] == column.key])
        heading = wording.group_name(result, column.group), column.label
        draw = partial(_panel, across=across, column=values)
        ours, theirs = grid[0][place], grid[1][place]
        ours.set_title(" · ".join(part for part in heading if part))
        draw(ours, of="measured", marker="o", color=theme.measured, word=wording.measured_word(result), theme=theme)
        draw(theirs, of="paper", marker="D", color=theme.paper, word="paper", theme=theme)


def _panel(
    axes: Axes,
    *,
    across: Sequence[Line],
    column: Sequence[Line],
    of: str,
    marker: str,
    color: str,
    word: str,
    theme: Theme,
) -> None:
    axes.spines["bottom"].set_visible(True)
    axes.grid(axis="both")
    axes.set_xlabel(f"{across[0].label}, {word}", color=color)
    axes.set_ylabel(f"{column[0].label} (%), {word}", color=color)
    both = list(zip(across, column, strict=True))
    known = [(x, y) for x, y in both if math.isfinite(getattr(x, of)) and math.isfinite(getattr(y, of))]
    if not known:
        axes.set_xticks([])
        axes.set_yticks([])
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": theme.muted, "style": "italic"}
        axes.text(0.5, 0.5, "no numbers", transform=axes.transAxes, gid="reason", **style)
        return
    along, up = (np.array([getattr(line, of) for line in part]) for part in zip(*known, strict=True))
    up = 100 * up
    axes.set_xscale("log")
    axes.plot(along, up, marker, ms=4.5, color=color, mew=0, ls="", zorder=3, gid=of)
    if of == "measured":
        _whiskers(axes, known, color)
    order = np.argsort(along)
    for rank, index in enumerate(order.tolist()):  # names above and below by turns, so that neighbours stay legible
        above = rank % 2 == 0
        axes.annotate(
            wording.short_name(known[index][0].row),
            (along[index], up[index]),
            xytext=(0, 6 if above else -6),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=5.5,
            color=color,
            gid="name",
        )
    axes.set_xlim(along.min() / ROOM, along.max() * ROOM)
    axes.margins(y=0.25)
    axes.set_xticks(np.unique(np.geomspace(along.min(), along.max(), 3).round(1)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _whiskers(axes: Axes, known: Sequence[tuple[Line, Line]], color: str) -> None:
    style: dict[str, Any] = {"color": color, "lw": 1.0, "alpha": 0.6, "gid": "interval"}
    for x, y in known:
        if math.isfinite(y.low) and math.isfinite(y.high):
            axes.plot([x.measured] * 2, [100 * y.low, 100 * y.high], **style)
        if math.isfinite(x.low) and math.isfinite(x.high):
            axes.plot([x.low, x.high], [100 * y.measured] * 2, **style)
