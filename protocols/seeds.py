"""Rows compared over several trainings, for tables whose number is no mean over images (AP, mean IoU)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bench.metrics.interval import Interval
from bench.metrics.random_effects import crossed_statistic
from protocols.paper import paper_difference
from protocols.results import Column, Comparison
from protocols.scores import OfSeeds, Scores
from protocols.verdicts import compared, compared_over_seeds

METHOD = (
    "differences with a p are means over trainings of both methods; intervals and p: two-way random effects of seeds "
    "and images (bootstrap), Satterthwaite's degrees of freedom"
)


class Sampled(NamedTuple):
    """A statistic on all images and on bootstrap samples of them."""

    value: float
    draws: np.ndarray
    """float64 [B]; NaN where a sample has no such object."""
    images: int


class Judged(NamedTuple):
    """What a table's module knows of scores."""

    compare: Callable[[Scores, Scores], Mapping[str, Interval]]
    """Paired difference of each column."""
    sampled: Callable[[Scores], Mapping[str, Sampled]]
    """Each column's statistic with its bootstrap samples."""


def comparisons(
    table: str, pairs: Sequence[tuple[str, str]], columns: Sequence[Column], scores: OfSeeds, judged: Judged
) -> Iterator[Comparison]:
    """Yield the difference of each pair in each column: over the seeds both have, if several, else over images."""
    for first, second in pairs:
        one, other = scores.get(first, {}), scores.get(second, {})
        shared = sorted(one.keys() & other.keys())
        for column in columns:
            paper = paper_difference(table, first, second, column.key)
            if len(shared) < 2:
                ours = judged.compare(one[0], other[0])[column.key] if shared == [0] else None
                yield _of_one_training(compared(first, second, column.key, paper, ours))
                continue
            ours_of = [judged.sampled(one[seed])[column.key] for seed in shared]
            theirs = [judged.sampled(other[seed])[column.key] for seed in shared]
            mean = crossed_statistic(
                np.array([a.value - b.value for a, b in zip(ours_of, theirs, strict=True)]),
                np.stack([a.draws - b.draws for a, b in zip(ours_of, theirs, strict=True)]),
                images=ours_of[0].images,
            )
            yield compared_over_seeds(first, second, column.key, paper, mean, count=True)


def _of_one_training(comparison: Comparison) -> Comparison:
    """Say that a verdict rests on one training of each row."""
    if comparison.verdict not in ("same order", "opposite order"):
        return comparison
    return replace(comparison, verdict=f"{comparison.verdict} (1 training each)")


def notes(columns: Sequence[Column], scores: OfSeeds) -> Iterator[str]:
    """Say what each training gave, where a row has several, and how they are compared."""
    several = {row: seeds for row, seeds in scores.items() if len(seeds) > 1}
    for row, seeds in several.items():
        each = "; ".join(
            f"{column.label} " + ", ".join(f"{100 * seeds[s].intervals[column.key].value:.1f}" for s in sorted(seeds))
            for column in columns
        )
        yield f"{row}, by training seed {', '.join(map(str, sorted(seeds)))}: {each}"
    if several:
        yield METHOD
    yield "intervals of rows are over images, for the training of seed 0: other seeds of the same recipe differ too"
