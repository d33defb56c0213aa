"""Wording: how numbers read, which must never say more than they know."""

import doctest
import importlib
import math
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.results import Status, TableResult
from reports import wording

SHARES = st.floats(0, 1)
PRINTED = 0.05 + 1e-9
"""Half of the last printed digit of a percentage."""


@pytest.mark.parametrize("module", ["wording", "comparisons", "write", "markdown", "latex_text"])
def test_examples_in_docstrings_are_true(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"reports.{module}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


@given(SHARES)
def test_a_percentage_is_printed_to_half_its_last_digit(value: float) -> None:
    assert abs(float(wording.number(value)) - 100 * value) <= PRINTED


@given(st.floats(-1, 1))
def test_a_difference_prints_a_sign_unless_it_prints_as_zero(value: float) -> None:
    text = wording.signed(value)
    assert text == "0.0" or (text[0] == "+") == (value > 0)


@given(SHARES, SHARES, SHARES)
def test_plus_minus_reaches_both_ends(value: float, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    margin = float(wording.plus_minus(value, low, high).removeprefix("±"))
    assert 100 * value - margin <= 100 * low + PRINTED
    assert 100 * value + margin >= 100 * high - PRINTED


@pytest.mark.parametrize(
    "value, text",
    [(54, "54.0"), (636.04, "636"), (0.0123, "0.0123"), (1234567, "1234567"), (0, "0.00"), (-2.5, "-2.50")],
)
def test_other_units_print_three_digits_and_no_exponent(value: float, text: str) -> None:
    assert wording.number(value, percent=False) == text


@pytest.mark.parametrize("low, high", [(math.nan, 0.8), (0.7, math.nan)])
def test_one_unknown_end_makes_the_short_form_unknown(low: float, high: float) -> None:
    assert wording.plus_minus(0.75, low, high) == "±?"
    assert "?" in wording.bracket(low, high)
    assert "nan" not in wording.bracket(low, high)


def test_a_mixed_table_is_called_mixed(table4: TableResult) -> None:
    mixed = replace(table4, scale="mixed")
    assert (wording.measured_word(mixed), wording.group_name(mixed, "COCO")) == ("mixed", "COCO (mixed)")


def test_micro_numbers_and_data_are_called_micro(micro4: TableResult, table4: TableResult) -> None:
    assert (wording.measured_word(micro4), wording.group_name(micro4, "COCO")) == ("micro", "COCO (micro)")
    assert (wording.measured_word(table4), wording.group_name(table4, "COCO")) == ("measured", "COCO")


@pytest.mark.parametrize("status", list(wording.MARKS))
def test_every_status_has_a_meaning(status: str) -> None:
    assert wording.LEGEND[status]
    assert len(wording.MARKS[status]) <= 10


def test_statuses_are_those_of_results() -> None:
    assert set(get_args(Status)) == set(wording.MARKS) == set(wording.LEGEND)


def test_a_long_name_loses_its_folders_and_then_its_end_in_a_figure() -> None:
    assert wording.short_name("efficientsam-ti-micro") == "efficientsam-ti-micro"
    assert wording.short_name("hf:/models/of/ours/and/of/others/sam-vit-base") == "hf:sam-vit-base"
    pairs = [f"onnx:/exports/sam-vit-b{end}.encoder.onnx,/exports/sam-vit-b{end}.decoder.onnx" for end in ("", ".int8")]
    first, second = map(wording.short_name, pairs)
    assert first != second
    assert len(first) == len(second) == wording.LONGEST_NAME


def test_a_long_name_is_shortened_at_once() -> None:
    """Names come from anywhere: no cut may take longer than its square."""
    assert wording.short_name("n" * 1_000_000).endswith("…")
