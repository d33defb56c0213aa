"""Reading ahead: one value, in order, an error where its own value would be."""

from __future__ import annotations

import threading

import pytest

from bench.read_ahead import read_ahead


def test_one_value_is_read_ahead_and_no_more() -> None:
    begun = [threading.Event() for _ in range(4)]

    def read(item: int) -> int:
        begun[item].set()
        return 10 * item

    values = read_ahead(read, range(4))
    assert next(values) == 0
    assert begun[1].wait(10)
    assert not begun[2].wait(0.1)
    assert list(values) == [10, 20, 30]


def test_an_error_comes_where_its_own_value_would_be() -> None:
    def read(item: int) -> int:
        return 6 // item

    values = read_ahead(read, [3, 2, 0, 1])
    assert [next(values), next(values)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(values)


def test_whoever_stops_early_leaves_no_thread() -> None:
    values = read_ahead(str, range(1000))
    next(values)
    values.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("reader")]


def test_nothing_gives_nothing() -> None:
    assert list(read_ahead(str, [])) == []
