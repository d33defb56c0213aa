import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as mask_utils

from bench.metrics import rle
from bench.metrics.rle import rle_totals
from models.errors import BenchError

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))
MASKS = st.lists(SIZES.flatmap(lambda size: arrays(np.bool_, size)), max_size=8)


def counts_of(mask: np.ndarray) -> bytes:
    return bytes(mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"])


@given(MASKS)
def test_totals_are_the_size_and_the_area_of_the_masks(masks: list[np.ndarray]) -> None:
    covered, areas = rle_totals([counts_of(mask) for mask in masks])
    assert covered.tolist() == [mask.size for mask in masks]
    assert areas.tolist() == [int(mask.sum()) for mask in masks]


def test_totals_are_right_for_large_masks_and_for_more_than_are_decoded_at_once() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((500, 700)) < 0.5, np.ones((1000, 3000)), np.zeros((1000, 3000))]
    masks += [rng.random((9, 9)) < 0.5 for _ in range(2 * rle.AT_ONCE)]
    covered, areas = rle_totals([counts_of(mask) for mask in masks])
    assert covered.tolist() == [mask.size for mask in masks]
    assert areas.tolist() == [int(mask.sum()) for mask in masks]


def test_text_counts_are_those_of_bytes() -> None:
    counts = counts_of(np.eye(20))
    np.testing.assert_array_equal(rle_totals([counts.decode()]), rle_totals([counts]))


@pytest.mark.parametrize("damage", ["", "é", "\x00", "zz", "P" * 9, "oooooooo1", "/1", "p1", "1 2", "\ud800"])
def test_counts_that_are_not_well_formed_cover_nothing_and_leave_their_neighbours_alone(damage: str) -> None:
    whole = counts_of(np.eye(20)).decode()
    covered, areas = rle_totals([whole, damage, whole])
    assert covered.tolist() == [400, -1, 400]
    assert areas[[0, 2]].tolist() == [20, 20]


def runs_as_text(runs: list[int]) -> str:
    """Write runs as maskApi.c does, negative ones too."""
    text = ""
    for place, run in enumerate(runs):
        number = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            code, number = number & 31, number >> 5
            more = number != (-1 if code & 16 else 0)
            text += chr(48 + code + 32 * more)
    return text


@given(st.lists(st.integers(-40, 200), min_size=1, max_size=12))
def test_totals_are_those_of_the_runs_and_none_may_be_negative(runs: list[int]) -> None:
    covered, areas = rle_totals([runs_as_text(runs), counts_of(np.eye(20)).decode(), runs_as_text(runs)])
    assert covered.tolist() == [sum(runs) if min(runs) >= 0 else -1, 400, sum(runs) if min(runs) >= 0 else -1]
    if min(runs) >= 0:
        assert areas.tolist() == [sum(runs[1::2]), 20, sum(runs[1::2])]


@pytest.mark.parametrize("cut", range(1, 12))
def test_counts_cut_short_do_not_cover_the_image(cut: int) -> None:
    counts = counts_of(np.random.default_rng(0).random((30, 30)) < 0.5)
    assert rle_totals([counts[:-cut]])[0][0] != 900


def test_uncompressed_counts_are_refused() -> None:
    with pytest.raises(BenchError, match="compressed string, got list"):
        rle_totals([[1, 2, 3]])  # type: ignore[list-item]
