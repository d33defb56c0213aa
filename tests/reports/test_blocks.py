"""Blocks: columns of three beside each other while they fit."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from reports.blocks import LABEL_WIDTH, Triple, blocks, fits

LABELS = [Text("SAM"), Text("EfficientSAM-Ti")]


def triple(label: str, group: str = "COCO", number: str = "12.3") -> Triple:
    texts = [Text(number) for _ in LABELS]
    return Triple(group, label, ("paper", "measured", "diff"), (texts, texts, texts))


def columns_of(triples: list[Triple], width: int) -> list[int]:
    return [(len(table.columns) - 1) // 3 for _, table in blocks(LABELS, triples, width)]


def test_a_column_is_as_wide_as_its_widest_text() -> None:
    assert triple("x").widths == (5, 8, 4)
    assert triple("a long label").widths == (5, 12, 4)
    assert triple("x", number="123456789").widths == (9, 9, 9)


@pytest.mark.parametrize("width, sizes", [(120, [4]), (109, [4]), (108, [2, 2]), (64, [2, 2]), (40, [1, 1, 1, 1])])
def test_a_group_is_whole_or_in_equal_pieces(width: int, sizes: list[int]) -> None:
    triples = [triple(name) for name in "abcd"]
    assert columns_of(triples, width) == sizes
    assert fits(LABELS, triples, width) is (len(sizes) == 1)


def test_groups_never_share_a_block() -> None:
    triples = [triple("a", "COCO"), triple("a", "LVIS")]
    assert [group for group, _ in blocks(LABELS, triples, 200)] == ["COCO", "LVIS"]


@given(st.integers(45, 200), st.integers(1, 9))
def test_a_block_is_never_wider_than_the_window(width: int, n: int) -> None:
    for _, table in blocks(LABELS, [triple(str(i)) for i in range(n)], width):
        stream = io.StringIO()
        Console(file=stream, width=width).print(table)
        assert max(map(len, stream.getvalue().splitlines())) <= width
        assert stream.getvalue().count("12.3") == len(LABELS) * (len(table.columns) - 1)


def test_a_long_label_folds_and_leaves_numbers_whole() -> None:
    long = [Text("x" * 3 * LABEL_WIDTH), Text("y")]
    ((_, table),) = blocks(long, [triple("a")], 70)
    stream = io.StringIO()
    Console(file=stream, width=70).print(table)
    assert stream.getvalue().count("12.3") == 6
    assert stream.getvalue().count("x") == 3 * LABEL_WIDTH
