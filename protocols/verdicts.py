"""Whether a measured difference has the sign that the paper's has, in the words of every table."""

from __future__ import annotations

import math

from bench.metrics.interval import Interval
from bench.metrics.random_effects import CrossedMean
from protocols.results import Comparison

SEEDS_WANTED = 3
"""Trainings of a variant that an ablation asks for."""


def compared(first: str, second: str, column: str, paper: float | None, ours: Interval | None) -> Comparison:
    """Say whether our difference has the paper's sign; undecided if its interval holds 0."""
    if ours is None or math.isnan(ours.value):
        return Comparison(first, second, column, paper, None, None, None, "not measured")
    low, high = (None if math.isnan(end) else end for end in (ours.low, ours.high))
    if low is None or high is None or low <= 0 <= high:
        verdict = "not decided"
    elif paper is None:
        verdict = "not claimed"
    else:
        verdict = "same order" if (ours.value > 0) == (paper > 0) else "opposite order"
    return Comparison(first, second, column, paper, ours.value, low, high, verdict)


def compared_over_seeds(
    first: str, second: str, column: str, paper: float | None, ours: CrossedMean | None, *, count: bool = False
) -> Comparison:
    """Say the same of trainings, with the p-value and, if asked, how many; one alone decides nothing about a method."""
    if ours is None:
        return compared(first, second, column, paper, None)
    interval = Interval(ours.value, ours.low, ours.high, ours.images)
    plain = compared(first, second, column, paper, interval)
    if ours.seeds < 2:
        detail, verdict = "1 seed", "not decided"
    else:
        detail, verdict = p_words(ours.p) + (f", {ours.seeds} seeds" if count else ""), plain.verdict
    return Comparison(first, second, column, paper, plain.measured, plain.low, plain.high, f"{verdict} ({detail})")


def p_words(p: float) -> str:
    """Return a p-value in two digits.

    >>> p_words(0.3141), p_words(0.0123), p_words(0.00001)
    ('p = 0.31', 'p = 0.012', 'p < 0.001')
    """
    if math.isnan(p):
        return "p unknown"
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"
