"""What a sample says about a whole run is held to counting every sample that could have been drawn."""

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.metrics.audit import CONFIDENCE, SHARE, assurance, noticed, usual_sample


@given(st.integers(1, 40), st.data())
def test_the_chance_of_noticing_is_one_minus_that_of_drawing_sound_images_alone(images: int, data) -> None:
    changed, sampled = (data.draw(st.integers(1, images)) for _ in range(2))
    missed = comb(images - changed, sampled) / comb(images, sampled)
    assert noticed(images, changed, sampled) == pytest.approx(1 - missed, abs=1e-12)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.data())
def test_as_many_changed_records_as_are_claimed_are_noticed_that_often_however_they_are_packed(counts, data) -> None:
    sampled = data.draw(st.integers(1, len(counts)))
    sure = assurance(counts, sampled)
    drawn = list(combinations(range(len(counts)), sampled))
    for size in range(1, len(counts) + 1):
        for where in combinations(range(len(counts)), size):
            if sum(counts[image] for image in where) >= sure.records:  # these images can hold so many changed records
                share = sum(not set(where).isdisjoint(sample) for sample in drawn) / len(drawn)
                assert share >= sure.probability - 1e-12
    assert sure.probability >= CONFIDENCE


def test_one_record_is_noticed_as_often_as_its_image_is_drawn() -> None:
    assert assurance([16] * 104, 26).one_record == 26 / 104
    assert assurance([5, 0, 1], 3).one_record == 1.0


def test_all_images_leave_no_doubt() -> None:
    sure = assurance([16] * 104, 104)
    assert (sure.records, sure.probability) == (1, 1.0)


@pytest.mark.parametrize("images", [1, 2, 20, 104, 5000])
def test_the_usual_sample_is_the_smallest_that_keeps_its_promise(images: int) -> None:
    taken, changed = usual_sample(images), max(1, round(SHARE * images + 0.499))
    assert noticed(images, changed, taken) >= CONFIDENCE
    assert taken == 1 or noticed(images, changed, taken - 1) < CONFIDENCE


def test_a_run_without_records_is_no_division_by_zero() -> None:
    assert assurance([0, 0], 1).one_record == 0.5
