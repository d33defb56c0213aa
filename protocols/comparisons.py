"""Compare two rows as the paper does: over images, over trainings, and in which words.

A measured difference has the sign that the paper's has, the opposite one, or is not decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import NamedTuple

import numpy as np

from bench.metrics.interval import Interval
from bench.metrics.random_effects import RandomEffectsMean, random_effects_mean, random_effects_of_statistic
from models.checkpoints import sha256_of
from protocols.measured import Measured
from protocols.paper import paper_difference
from protocols.paper.ledger import differences
from protocols.plan import Subject
from protocols.results import Cell, Column, Comparison
from protocols.scores import Scores
from protocols.training_records import Records, TrainingRecord

SEEDS_WANTED = 3
"""Trainings of a variant that an ablation asks for."""
METHOD = (
    "intervals and p: two-way random effects of seeds and images, Satterthwaite's degrees of freedom; "
    "two variants are decided apart where p < 0.05"
)
METHOD_OF_STATISTICS = (
    "differences with a p are means over trainings of both methods; intervals and p: two-way random effects of seeds "
    "and images (bootstrap), Satterthwaite's degrees of freedom"
)
"""For numbers that are no means over images (AP, mean IoU)."""


class Sampled(NamedTuple):
    """A statistic on all images and on bootstrap samples of them."""

    value: float
    draws: np.ndarray
    """float64 [B]; NaN where a sample has no such object."""
    images: int
    lopsided: bool = False
    """Whether draws lie off to one side of the value, as those of AP do (`bench.metrics.interval.centred_interval`)."""
    n: int = 0
    """How many prompts or detections it rests on."""


def pairs(table: ModuleType, measured: Measured) -> list[tuple[str, str]]:
    """Return which rows are compared: those that the paper compares, and each export with what it was made from."""
    labels = {row.label for row in measured.plan.rows}
    found = [pair for pair in table.COMPARED if set(pair) <= labels]
    for subject in measured.plan.subjects:
        made_from = getattr(subject.card, "made_from", None)
        found += [(subject.row, other.row) for other in measured.plan.subjects if made_from and _is(other, *made_from)]
    return found


def _is(subject: Subject, model: str, sha256: str | None) -> bool:
    """Whether a row's model has a name, and its checkpoint this hash."""
    if subject.card.name != model:
        return False
    given = sha256_of(subject.checkpoint) if subject.checkpoint else getattr(subject.card, "sha256", None)
    return sha256 is None or given in (sha256, None)


def over_images(table: ModuleType, measured: Measured) -> Iterator[Comparison]:
    """Yield the difference of each pair of rows in each column, paired over the images that both were asked about."""
    scores = measured.scores
    for first, second in pairs(table, measured):
        both = first in scores and second in scores
        ours = table.compare(scores[first][0], scores[second][0]) if both else {}
        for column in measured.columns:
            paper = paper_difference(table.NAME, first, second, column.key)
            yield of_one_training(compared(first, second, column.key, paper, ours.get(column.key)))


def over_seeds(table: ModuleType, measured: Measured) -> Iterator[Comparison]:
    """Yield the same over the trainings that both rows have, if several, else over images.

    `table.over_trainings` gives the difference over several.
    """
    for first, second in pairs(table, measured):
        one, other = measured.scores.get(first, {}), measured.scores.get(second, {})
        shared = sorted(one.keys() & other.keys())
        for column in measured.columns:
            paper = paper_difference(table.NAME, first, second, column.key)
            if len(shared) < 2:
                ours = table.compare(one[0], other[0]).get(column.key) if shared == [0] else None
                yield of_one_training(compared(first, second, column.key, paper, ours))
                continue
            mean = table.over_trainings([one[seed] for seed in shared], [other[seed] for seed in shared], column.key)
            yield compared_over_seeds(first, second, column.key, paper, mean, count=True)


def of_statistics(first: Sequence[Sampled], second: Sequence[Sampled]) -> RandomEffectsMean:
    """Return the difference over trainings, first - second, of numbers that are no means over images."""
    return random_effects_of_statistic(
        np.array([a.value - b.value for a, b in zip(first, second, strict=True)]),
        np.stack([a.draws - b.draws for a, b in zip(first, second, strict=True)]),
        images=first[0].images,
    )


def of_one_training(comparison: Comparison) -> Comparison:
    """Say that a verdict rests on one training of each row."""
    if comparison.verdict not in ("same order", "opposite order"):
        return comparison
    return replace(comparison, verdict=f"{comparison.verdict} (1 training each)")


def seed_notes(
    columns: Sequence[Column], scores: Mapping[str, Mapping[int, Scores]], method: str = METHOD_OF_STATISTICS
) -> Iterator[str]:
    """Say what each training gave, where a row has several, and how they are compared."""
    several = {row: seeds for row, seeds in scores.items() if len(seeds) > 1}
    for row, seeds in several.items():
        each = "; ".join(
            f"{column.group} {column.label} "
            + ", ".join(f"{100 * seeds[s].intervals[column.key].value:.1f}" for s in sorted(seeds))
            for column in columns
        )
        yield f"{row}, by training seed {', '.join(map(str, sorted(seeds)))}: {each}"
    if several:
        yield method
    yield "intervals of rows are over images, for the training of seed 0: other seeds of the same recipe differ too"


def with_measure(records: Mapping[int, TrainingRecord], column: str) -> dict[int, TrainingRecord]:
    """Return the records by seed that have a measure: "top1", or a probe of the frozen encoder."""
    return {seed: record for seed, record in records.items() if column == "top1" or column in record.probes}


def seeds_of(records: Mapping[int, TrainingRecord], column: str = "top1") -> np.ndarray:
    """Return float [S, N], what an image gave each seed: 1 where the model was right, or a share of variance."""
    values = [records[seed].correct if column == "top1" else records[seed].probes[column] for seed in sorted(records)]
    return np.stack(values).astype(np.float64)


def difference(records: Records, first: str, second: str, column: str = "top1") -> RandomEffectsMean | None:
    """Return the mean difference of two runs over the seeds that both have, None if they share none."""
    one, other = (with_measure(records.get(run, {}), column) for run in (first, second))
    shared = sorted(one.keys() & other.keys())
    if not shared:
        return None
    values = [seeds_of({seed: of_seed[seed] for seed in shared}, column) for of_seed in (one, other)]
    return random_effects_mean(values[0] - values[1])


def cell_of_mean(row: str, column: str, paper: float | None, mean: RandomEffectsMean, n: int) -> Cell:
    """Return the cell of a mean over trainings, which says if these are few."""
    return Cell(row, column, "measured", paper, mean.value, mean.low, mean.high, n, too_few(mean.seeds))


def claim_notes(table: str) -> Iterator[str]:
    """Say what the paper's text claims, where it contradicts its own table."""
    for claim in differences(table):
        if claim.note:
            yield f"the paper's text puts {claim.first} {100 * claim.claimed:.1f} above {claim.second}, {claim.note}"


def too_few(seeds: int) -> str:
    """Say what fewer seeds than wanted mean, nothing if there are enough.

    >>> too_few(3), too_few(1)
    ('', 'only 1 of 3 seeds: says nothing of other trainings')
    """
    if seeds >= SEEDS_WANTED:
        return ""
    meaning = "says nothing of other trainings" if seeds == 1 else "the interval is a rough one"
    return f"only {seeds} of {SEEDS_WANTED} seeds: {meaning}"


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
    first: str, second: str, column: str, paper: float | None, ours: RandomEffectsMean | None, *, count: bool = False
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
