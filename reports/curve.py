"""One panel of a curve: a column of the table against its rows' places, with the band of our 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from protocols.results import TableResult
from reports import wording
from reports.dataframe import Line
from reports.panel import Theme

FEW = 8
"""Places that all have their names on the axis."""
BAND = 0.18
"""Opacity of the interval's band."""


def draw_curve(axes: Axes, column: Sequence[Line], result: TableResult, theme: Theme) -> None:
    """Draw one column of a result that is a curve, on a logarithmic axis.

    The paper's numbers are on another scale of data and models, so they stand beside as words. Artists carry a gid:
    'measured', 'interval', 'paper', 'reason'.
    """
    x = np.array(result.x)
    y, low, high = (
        100 * np.array([getattr(line, key) for line in column]) for key in ("measured", "low", "high")
    )  # percent
    heading = wording.group_name(result, column[0].group), column[0].label
    axes.set_title(" · ".join(part for part in heading if part))
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{place:g}" if _is_named(place, x) else "" for place in x])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(x[0] / 1.25, x[-1] * 1.25)
    axes.set_xlabel(_axis(result))
    axes.grid(axis="y")
    axes.spines["bottom"].set_visible(True)
    known = np.isfinite(y)
    if not known.any():
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": theme.muted, "style": "italic"}
        axes.text(0.5, 0.55, wording.MARKS[column[0].status], transform=axes.transAxes, gid="reason", **style)
    else:
        banded = known & np.isfinite(low) & np.isfinite(high)
        band = axes.fill_between(x[banded], low[banded], high[banded], color=theme.measured, alpha=BAND, lw=0)
        band.set_gid("interval")
        axes.plot(x[known], y[known], "o-", ms=4, color=theme.measured, mew=0, zorder=3, gid="measured")
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_ylabel(f"{wording.measured_word(result)} (%)", color=theme.measured)
    words = "\n".join(_beside(column, result))
    axes.text(
        0.98, 0.04, words, transform=axes.transAxes, ha="right", va="bottom", fontsize=6, color=theme.paper, gid="paper"
    )


def _is_named(place: float, x: np.ndarray) -> bool:
    """Return whether a place has room for its name: 1, 2 or 5 of a decade, and of few places each."""
    return len(x) <= FEW or (f"{place:.0e}"[0] in "125" and float(f"{place:.0e}") == place)


def _axis(result: TableResult) -> str:
    """Return the axis' label: what rows are, with the unit that their names end in."""
    unit = result.rows[-1].label.partition(" ")[2]
    return f"{result.row_head} ({unit})" if unit else result.row_head


def _beside(column: Sequence[Line], result: TableResult) -> Iterator[str]:
    """Yield what the paper says of this column, with our differences."""
    for comparison in result.comparisons:
        if comparison.column == column[0].column and comparison.paper is not None:
            ours = wording.signed(math.nan if comparison.measured is None else comparison.measured)
            words = f"{comparison.second} to {comparison.first}: paper {wording.signed(comparison.paper)}"
            yield f"{words}, {wording.measured_word(result)} {ours}" if ours else words
    for line in column:
        if math.isfinite(line.paper):
            yield f"paper after {line.row}: {wording.number(line.paper)}"
