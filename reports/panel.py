"""One panel of the plot: a column of the table, a line a method, markers, whiskers, frames, reasons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from protocols.results import TableResult
from reports import wording
from reports.dataframe import Line

DASHES = (":", "--", "-.")
"""Rules of the frames, floor first."""

SHIFT = 0.2
"""How far the two markers of a method stand from its middle line, so that equal numbers stay both visible."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a figure; blue and orange of Okabe and Ito (2008), told apart with any colour vision."""

    measured: str
    paper: str
    ink: str
    muted: str
    grid: str
    background: str

    def settings(self) -> dict[str, Any]:
        """Return the matplotlib settings that put these colours over the style file."""
        return {
            "text.color": self.ink,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.edgecolor": self.muted,
            "xtick.color": self.ink,
            "ytick.color": self.ink,
            "grid.color": self.grid,
            "figure.facecolor": self.background,
            "axes.facecolor": self.background,
            "savefig.facecolor": self.background,
        }


def draw_panel(axes: Axes, column: Sequence[Line], result: TableResult, theme: Theme) -> None:
    """Draw one column of the table, its frames among its lines.

    Artists carry a gid: 'measured', 'interval', 'paper', 'rank measured', 'rank paper', 'frame <row>',
    'frames beyond', 'reason'.
    """
    methods = [line for line in column if line.kind != "bound"]
    frames = [line for line in column if line.kind == "bound"]
    group, unit = column[0].group, " (%)" if column[0].percent else ""
    heading = wording.group_name(result, group), column[0].label
    axes.set_title(" · ".join(part for part in heading if part))
    axes.set_yticks(range(len(methods)), [wording.short_name(line.row) for line in methods])
    axes.set_ylim(len(methods) - 0.1, -0.6)
    ours = [x for line in methods for x in (line.measured, line.low, line.high)]
    if not any(map(math.isfinite, ours)):
        ours = [line.measured for line in frames]
    papers = [line.paper for line in methods]
    comparable = column[0].comparable
    _measured(axes, methods, theme, ranked=not comparable)
    if comparable:
        _paper(axes, methods, theme, ranked=False)
        axes.set_xlabel(f"paper and measured{unit}")
        _limits(axes, column, ours + papers)
    elif not any(map(math.isfinite, papers)):
        _limits(axes, column, ours)
        _coloured(axes, wording.measured_word(result) + unit, theme.measured, "bottom")
    else:
        above = axes.twiny()
        _paper(above, methods, theme, ranked=True)
        _limits(above, column, papers)
        _limits(axes, column, ours)
        _coloured(above, ", ".join(part for part in ("paper", group) if part) + unit, theme.paper, "top")
        _coloured(axes, wording.measured_word(result) + unit, theme.measured, "bottom")
        above.grid(False)
    _frames(axes, frames, theme)
    _reasons(axes, methods, theme)


def _shown(column: Sequence[Line], values: Iterable[float]) -> npt.NDArray[np.float64]:
    """Return values as the panel shows them: percentages x 100."""
    return np.array(list(values), dtype=np.float64) * (100 if column[0].percent else 1)


def _measured(axes: Axes, methods: list[Line], theme: Theme, *, ranked: bool) -> None:
    if not methods:
        return
    y = np.arange(len(methods)) + SHIFT
    low, high = (_shown(methods, [getattr(line, end) for line in methods]) for end in ("low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    whiskers = axes.hlines(y[known], low[known], high[known], color=theme.measured, linewidth=1.4)
    whiskers.set_gid("interval")
    x = _shown(methods, [line.measured for line in methods])
    size = 7 if ranked else 5
    axes.plot(x, y, "o", ms=size, color=theme.measured, mew=0, zorder=3, gid="measured")
    if ranked:
        _ranks(axes, methods, x, y, "measured", theme.background)


def _paper(axes: Axes, methods: list[Line], theme: Theme, *, ranked: bool) -> None:
    if not methods:
        return
    x = _shown(methods, [line.paper for line in methods])
    y = np.arange(len(methods)) - SHIFT
    hollow: dict[str, Any] = {"mfc": theme.background, "mec": theme.paper, "mew": 1.1}
    axes.plot(x, y, "D", ms=6.4 if ranked else 4.2, zorder=3, gid="paper", **hollow)
    if ranked:
        _ranks(axes, methods, x, y, "paper", theme.paper)


def _ranks(
    axes: Axes,
    methods: list[Line],
    x: npt.NDArray[np.floating],
    y: npt.NDArray[np.floating],
    of: str,
    color: str,
) -> None:
    """Write ranks into markers, among methods that have both numbers; a rank of one alone says nothing."""
    both = [i for i, line in enumerate(methods) if math.isfinite(line.paper) and math.isfinite(line.measured)]
    if len(both) < 2:
        return
    style: dict[str, Any] = {"fontsize": 4.8, "ha": "center", "va": "center_baseline", "zorder": 4}
    for i in both:
        rank = 1 + sum(x[j] > x[i] for j in both)
        axes.text(x[i], y[i], str(rank), color=color, gid=f"rank {of}", **style)


def _limits(axes: Axes, column: Sequence[Line], values: Iterable[float]) -> None:
    """Fit the axis to the numbers, not to the frames: a far ceiling would squeeze all intervals to dots."""
    shown = _shown(column, values)
    finite = shown[np.isfinite(shown)]
    if not finite.size:
        axes.set_xticks([])
        return
    room = max(0.12 * float(np.ptp(finite)), 0.5 if column[0].percent else 0.05 * float(np.abs(finite).max()))
    axes.set_xlim(float(finite.min()) - room, float(finite.max()) + room)
    axes.xaxis.set_major_locator(MaxNLocator(4))


def _coloured(axes: Axes, label: str, color: str, side: str) -> None:
    axes.set_xlabel(label, color=color)
    axes.tick_params(axis="x", colors=color)
    axes.spines[side].set_visible(True)
    axes.spines[side].set_color(color)


def _aside(axes: Axes, y: float, text: str, side: str, theme: Theme) -> Text:
    """Write small print at a panel's left or right edge, at a line's height, over any rule there."""
    box = {"facecolor": theme.background, "edgecolor": "none", "pad": 0.6}
    style: dict[str, Any] = {"ha": side, "va": "center", "fontsize": 5.5, "color": theme.muted, "bbox": box}
    x = 0.99 if side == "right" else 0.01
    return axes.text(x, y, text, transform=axes.get_yaxis_transform(), **style)


def _frames(axes: Axes, frames: list[Line], theme: Theme) -> None:
    """Draw floor and ceiling as lines, or, outside the panel, as words at the edge that they lie beyond."""
    low, high = axes.get_xlim()
    beyond: dict[str, list[str]] = {"left": [], "right": []}
    for i, line in enumerate(frames):
        if math.isnan(line.measured):
            continue
        value = float(_shown(frames, [line.measured])[0])
        if low <= value <= high:
            dashes = DASHES[i % len(DASHES)]
            axes.axvline(value, color=theme.muted, lw=0.9, ls=dashes, zorder=1, gid=f"frame {line.row}")
        else:
            words = f"{line.row} {wording.number(line.measured, line.percent)}"
            beyond["right" if value > high else "left"].append(words)
    height = axes.get_ylim()[0] - 0.2
    for side, words_there in beyond.items():
        if words_there:
            text = ", ".join(words_there)
            text = f"{text} ▸" if side == "right" else f"◂ {text}"
            _aside(axes, height, text, side, theme).set_gid("frames beyond")


def _reasons(axes: Axes, methods: list[Line], theme: Theme) -> None:
    """Write why a number is missing into its line, on the side where the paper's marker is not."""
    papers = [line.paper for line in methods if math.isfinite(line.paper)]
    middle = (min(papers) + max(papers)) / 2 if papers else math.inf
    for y, line in enumerate(methods):
        if math.isnan(line.measured):
            side = "left" if line.paper > middle else "right"
            _aside(axes, y, wording.MARKS[line.status], side, theme).set(gid="reason", style="italic")
