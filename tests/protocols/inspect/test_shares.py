"""Shapley's shares: equal to the mean over all orders written out, and adding up whatever is measured."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.inspect.shares import MOST_POINTS, _order, count_orders, shares

RANKS = st.lists(st.sampled_from([None, 0, 1, 2]), min_size=0, max_size=5)


def orders_of(ranks):
    """Return every order in which changes of a lower rank come first."""
    found = []
    for order in permutations(range(len(ranks))):
        ranked = [ranks[one] for one in order if ranks[one] is not None]
        if ranked == sorted(ranked):
            found.append(order)
    return found


@given(RANKS, st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_shares_are_the_means_over_all_orders(ranks, seed):
    plan = shares(ranks, orders=1)
    values = dict(zip(plan.points, np.random.default_rng(seed).normal(size=len(plan.points)), strict=True))
    expected = np.zeros(len(ranks))
    every = orders_of(ranks)
    for order in every:
        for turn, change in enumerate(order):
            expected[change] += values[frozenset(order[: turn + 1])] - values[frozenset(order[:turn])]
    assert plan.orders is None
    assert len(every) == count_orders(ranks)
    assert plan.weights @ list(values.values()) == pytest.approx(expected / len(every), abs=1e-12)


@given(st.lists(st.sampled_from([None, 0, 1, 2]), min_size=1, max_size=12), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_shares_add_up_to_the_difference_also_over_sampled_orders(ranks, seed):
    plan = shares(ranks, orders=5, seed=seed)
    values = np.random.default_rng(seed).normal(size=len(plan.points))
    assert (plan.weights @ values).sum() == pytest.approx(values[-1] - values[0], abs=1e-12)
    assert (plan.points[0], plan.points[-1]) == (frozenset(), frozenset(range(len(ranks))))


def test_orders_are_sampled_where_there_are_too_many_combinations():
    assert shares([None] * 6, orders=3).orders is None
    assert len(shares([None] * 6, orders=3).points) == MOST_POINTS
    assert shares([None] * 7, orders=3).orders == 3
    assert len(shares([0, 1, *[2] * 4, None], orders=3).points) == 2 * (2 + 2**4)  # of 128, since some come first


def test_every_order_is_drawn_as_often_as_the_others():
    ranks = [2, None, 1, 2]
    rng = np.random.default_rng(0)
    drawn = [tuple(_order(ranks, rng)) for _ in range(4000)]
    counts = {order: drawn.count(order) for order in orders_of(ranks)}
    assert sum(counts.values()) == len(drawn)
    expected = len(drawn) / len(counts)
    assert max(abs(count - expected) for count in counts.values()) < 5 * expected**0.5
