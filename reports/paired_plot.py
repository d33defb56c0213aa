"""Two runs instance by instance: how their differences are spread, and one's IoU against the other's."""

from __future__ import annotations

import io
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from reports import wording
from reports.panel import Theme
from reports.plot import LIGHT, STYLE, WIDTH

HEIGHT = 3.0
"""Inches."""
BIN = 5
"""Width of a bin of differences, points of IoU."""


def paired_picture(instances: pd.DataFrame, first: str, second: str, theme: Theme = LIGHT) -> bytes:
    """Return the figure of paired instances as PNG.

    Args:
        instances: with columns first, second and difference, 0..1.
        first: name of A.
        second: name of B.
        theme: colours.
    """
    figure = draw_paired(instances, first, second, theme)
    with matplotlib.style.context([str(STYLE), theme.settings()]):
        png = io.BytesIO()
        figure.savefig(png, format="png")
    return png.getvalue()


def draw_paired(instances: pd.DataFrame, first: str, second: str, theme: Theme = LIGHT) -> Figure:
    """Return the figure, not laid out yet; artists carry a gid: 'differences', 'mean', 'instances', 'equal'."""
    one, other = (wording.short_name(name) for name in (first, second))
    with matplotlib.style.context([str(STYLE), theme.settings()]):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        left, right = figure.subplots(1, 2)
        _differences(left, 100 * instances["difference"].to_numpy(float), f"{one} - {other}", theme)
        _scatter(right, 100 * instances["first"].to_numpy(float), 100 * instances["second"].to_numpy(float), theme)
        right.set_xlabel(f"IoU of {other} (%)")
        right.set_ylabel(f"IoU of {one} (%)")
    return figure


def _differences(axes: Axes, values: np.ndarray, label: str, theme: Theme) -> None:
    edges = [float(edge) for edge in range(-100, 100 + BIN, BIN)]
    counts, _ = np.histogram(values, edges)
    axes.bar(edges[:-1], counts, 0.9 * BIN, align="edge", color=theme.measured, gid="differences")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}"))
    axes.axvline(0, color=theme.muted, lw=0.8)
    axes.axvline(float(values.mean()), color=theme.paper, lw=1.2, gid="mean")
    axes.set_title(f"differences of {len(values):,} instances, mean {wording.signed(float(values.mean()) / 100)}")
    axes.set_xlabel(f"IoU, {label} (points)")
    axes.set_ylabel("instances")
    axes.grid(axis="both")


def _scatter(axes: Axes, first: np.ndarray, second: np.ndarray, theme: Theme) -> None:
    style: dict[str, Any] = {"s": 5, "lw": 0, "alpha": max(0.05, min(0.6, 300 / max(len(first), 1)))}
    axes.scatter(second, first, color=theme.measured, gid="instances", **style)
    axes.plot([0, 100], [0, 100], color=theme.muted, lw=0.8, gid="equal")
    axes.set_title("above the line: the first is better")
    axes.set_aspect("equal")
    axes.set(xlim=(-2, 102), ylim=(-2, 102))
    axes.grid(axis="both")
