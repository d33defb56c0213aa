"""Which of several changes explains how much of a difference: Shapley's shares, where some changes must come first.

A share is the mean, over the orders in which changes can be made, of what a change adds at its turn (Shapley 1953; for
orders that are restricted, Faigle and Kern 1992). Whatever the order, what all of them add is the whole difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

MOST_POINTS = 64
"""Combinations of changes that are measured, if all of them are: those of six changes that can come in any order."""
Point = frozenset[int]
"""The changes that are made, by place."""


class Shares(NamedTuple):
    """What has to be measured, and how shares follow from it."""

    points: tuple[Point, ...]
    """From none of the changes to all of them."""
    weights: np.ndarray
    """float64 [changes, points]: shares = weights @ values of the points."""
    orders: int | None
    """How many orders were sampled; None: all of them count."""


def shares(ranks: Sequence[int | None], *, orders: int, seed: int = 0) -> Shares:
    """Return which combinations of changes have to be measured, and the weights of each change's share.

    Exact where no more than `MOST_POINTS` combinations can come up, else over sampled orders.

    Args:
        ranks: of each change: those of a lower rank come before those of a higher one; None may come at any place.
        orders: how many to sample where there are too many combinations.
        seed: of that sample.

    >>> plan = shares([None, None], orders=1)
    >>> [sorted(point) for point in plan.points], plan.weights.tolist()
    ([[], [0], [1], [0, 1]], [[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5]])
    """
    reached = _combinations(ranks)
    if reached is not None:
        return Shares(reached, _exact(reached, ranks), None)
    rng = np.random.default_rng(seed)
    return _over([_order(ranks, rng) for _ in range(orders)], len(ranks))


def _next(point: Point, ranks: Sequence[int | None]) -> Iterable[int]:
    """Yield the changes that can be made next."""
    left = [rank for change, rank in enumerate(ranks) if change not in point and rank is not None]
    lowest = min(left, default=0)
    yield from (change for change, rank in enumerate(ranks) if change not in point and rank in (None, lowest))


def _combinations(ranks: Sequence[int | None]) -> tuple[Point, ...] | None:
    """Return all combinations of changes that can come up, fewer changes first; None if they are too many."""
    found: list[Point] = [frozenset()]
    layer = found
    for _ in ranks:
        layer = sorted({point | {change} for point in layer for change in _next(point, ranks)}, key=sorted)
        found = [*found, *layer]
        if len(found) > MOST_POINTS:
            return None
    return tuple(found)


def _exact(points: Sequence[Point], ranks: Sequence[int | None]) -> np.ndarray:
    """Return the weights over all orders, by counting the orders that go through each step."""
    place = {point: row for row, point in enumerate(points)}
    steps = [(point, change) for point in points for change in _next(point, ranks)]
    below = {point: 0 for point in points} | {points[0]: 1}  # orders from no change to here
    for point, change in steps:
        below[point | {change}] += below[point]
    above = {point: 0 for point in points} | {points[-1]: 1}  # orders from here to all changes
    for point, change in reversed(steps):
        above[point] += above[point | {change}]
    weights = np.zeros((len(ranks), len(points)))
    for point, change in steps:
        share = below[point] * above[point | {change}] / above[points[0]]
        weights[change, place[point | {change}]] += share
        weights[change, place[point]] -= share
    return weights


def _order(ranks: Sequence[int | None], rng: np.random.Generator) -> list[int]:
    """Draw one of the orders, each as likely: any order whatever, in which ranked changes then swap places by rank."""
    order = [int(change) for change in rng.permutation(len(ranks))]
    ranked = iter(sorted((one for one in order if ranks[one] is not None), key=lambda one: ranks[one] or 0))
    return [change if ranks[change] is None else next(ranked) for change in order]


def _over(orders: Sequence[Sequence[int]], changes: int) -> Shares:
    """Return the weights over some orders."""
    ways = [[frozenset(order[:made]) for made in range(changes + 1)] for order in orders]
    points = tuple(sorted({point for way in ways for point in way}, key=lambda point: (len(point), sorted(point))))
    place = {point: row for row, point in enumerate(points)}
    weights = np.zeros((changes, len(points)))
    for order, way in zip(orders, ways, strict=True):
        for change, before, after in zip(order, way, way[1:], strict=False):
            weights[change, place[after]] += 1 / len(orders)
            weights[change, place[before]] -= 1 / len(orders)
    return Shares(points, weights, len(orders))


def count_orders(ranks: Sequence[int | None]) -> int:
    """Return how many orders there are.

    >>> count_orders([None, None, None]), count_orders([1, 2, 2]), count_orders([None, 1, 2])
    (6, 2, 3)
    """
    ranked = [rank for rank in ranks if rank is not None]
    within = math.prod(math.factorial(ranked.count(rank)) for rank in set(ranked))
    return math.factorial(len(ranks)) // math.factorial(len(ranked)) * within
