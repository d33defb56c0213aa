"""The calibration ladder's data and its diagnosis: what a broken rung points at, given those that hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import zoo
from models.errors import BenchError
from protocols import tables
from protocols.published import axes_of, calibration
from protocols.published.calibration import (
    Reading,
    Reference,
    Rung,
    also_known_as,
    chosen,
    decision,
    diagnosis,
    judged,
    published_reference,
    rungs,
    suspects,
)
from protocols.table import data_set_of

EVERY = (*rungs("paper"), *rungs("micro"))


def rung(name, *depends, **more):
    usual = {"scale": "paper", "table": "table5", "model": "sam-vit-b", "column": "coco_ap", "protocol": "tinysam"}
    return Rung(name=name, published="SAM-B", tolerance=0.3, tolerance_from="", depends=depends, **{**usual, **more})


def reading(one, status):
    return Reading(one, status, Reference(40.0, ""), 40.0 if status == "holds" else 30.0)


@pytest.mark.parametrize("one", EVERY, ids=lambda one: one.name)
def test_a_rung_is_of_a_model_a_column_and_choices_that_exist(one):
    assert one.model == "detector" or zoo.card(one.model).scale == one.scale
    assert one.depends
    assert all(decision(name).what and decision(name).look for name in one.depends)
    if not one.table:
        assert zoo.card(one.model).sha256, "there is a hash to compare"
        return
    columns = [column.key for column in tables.find(one.table).COLUMNS]
    assert one.column in columns
    axes = axes_of(one.protocol)
    assert axes.columns is None or one.column in axes.columns, "the protocol's evaluator has this column"
    assert data_set_of(tables.find(one.table), one.column) in one.column
    assert one.tolerance > 0
    assert one.tolerance_from


@pytest.mark.parametrize("one", [one for one in rungs("paper") if one.table], ids=lambda one: one.name)
def test_each_rung_of_paper_scale_has_one_published_number(one):
    assert 20 < published_reference(one).value < 90
    assert published_reference(one).source


def test_the_numbers_are_those_that_evaluators_published():
    known = {one.name: published_reference(one).value for one in rungs("paper") if one.table}
    assert (known["masks-coco"], known["masks-lvis"]) == (51.0, 46.6)
    assert (known["sam-b-single"], known["sam-b-multimask"]) == (41.0, 43.4)
    assert (known["sam-b-click"], known["sam-h-click"]) == (53.36, 58.42)
    assert (known["efficientsam-ti"], known["efficientsam-s"]) == (42.3, 44.4)


def test_both_scales_have_a_rung_of_each_kind_and_hashes_come_first():
    for scale in ("paper", "micro"):
        hashed = [not one.table for one in rungs(scale)]
        assert hashed == sorted(hashed, reverse=True)
        assert {name for one in rungs(scale) for name in one.depends} >= {
            "annotations",
            "one-mask",
            "three-masks",
            "click",
        }
        assert len({one.name for one in rungs(scale)}) == len(hashed)


def test_every_decision_is_one_that_some_rung_depends_on():
    used = {name.partition(" ")[0] for one in EVERY for name in one.depends}
    assert used == set(calibration.decisions())


def test_a_rung_is_broken_beyond_its_tolerance():
    assert judged(rung("a"), Reference(43.4, ""), 43.1).status == "holds"
    assert judged(rung("a"), Reference(43.4, ""), 43.71).status == "broken"


def test_what_a_broken_rung_shares_with_no_held_one_is_suspected():
    """A broken rung of {A, B} beside a held one of {A} points at B."""
    found = suspects([reading(rung("one", "ap"), "holds"), reading(rung("two", "ap", "click"), "broken")])
    assert [(one.decision, one.cleared_by) for one in found] == [("click", ()), ("ap", ("one",))]


def test_of_what_is_free_that_which_explains_more_comes_first():
    found = suspects([reading(rung("one", "box", "ap"), "broken"), reading(rung("two", "click", "ap"), "broken")])
    assert found[0].decision == "ap"
    assert found[0].explains == ("one", "two")


def test_weights_of_one_model_say_nothing_of_another_s():
    small, large = (
        next(one for one in rungs("paper") if one.name == name) for name in ("sam-b-multimask", "sam-h-multimask")
    )
    found = suspects([reading(large, "holds"), reading(small, "broken")])
    assert [one.decision for one in found if not one.cleared_by] == ["weights sam-vit-b"]


def test_rungs_that_were_not_measured_clear_nothing():
    for status in ("not runnable", "not tried"):
        found = suspects([Reading(rung("one", "ap"), status), reading(rung("two", "ap"), "broken")])
        assert found[0].cleared_by == ()


@given(st.sets(st.sampled_from(sorted(calibration.decisions())), min_size=1), st.data())
def test_one_wrong_choice_is_always_among_the_suspects(wrong, data):
    """Whatever the ladder: if a rung breaks exactly where it depends on the wrong choice, no held rung clears it."""
    fault = data.draw(st.sampled_from(sorted(wrong)))
    ladder = [
        rung(str(number), *names)
        for number, names in enumerate(
            data.draw(st.lists(st.sets(st.sampled_from(sorted(calibration.decisions())), min_size=1), min_size=1))
        )
    ]
    found = suspects([reading(one, "broken" if fault in one.depends else "holds") for one in ladder])
    broken = [one for one in ladder if fault in one.depends]
    free = [one for one in found if not one.cleared_by]
    assert (fault in [one.decision for one in free]) == bool(broken)
    if broken:
        assert len(free[0].explains) == len(broken)


def test_a_number_that_is_published_under_another_protocol_is_recognised():
    multimask = next(one for one in rungs("paper") if one.name == "sam-b-multimask")
    (words,) = also_known_as(Reading(multimask, "broken", Reference(43.4, ""), 41.1), [])
    assert words.startswith("41.0 is published under tinysam, but mask_pick=single")
    assert also_known_as(Reading(multimask, "broken", Reference(43.4, ""), 30.0), []) == []


def test_the_diagnosis_names_the_rung_the_distance_and_the_choice():
    lines = "\n".join(diagnosis([reading(rung("one", "ap"), "holds"), reading(rung("two", "ap", "click"), "broken")]))
    assert "two is -10.00 points away from 40" in lines
    assert decision("click").what in lines
    assert decision("ap").what not in lines
    assert diagnosis([reading(rung("one", "ap"), "holds")]) == []


def test_where_every_choice_is_cleared_the_diagnosis_says_so():
    lines = diagnosis([reading(rung("one", "ap"), "holds"), reading(rung("two", "ap"), "broken")])
    assert "rungs that hold share each single choice" in lines[-1]


def test_rungs_are_chosen_by_name_in_the_order_of_the_ladder():
    assert [one.name for one in chosen("paper", ["sam-h-box", "masks-coco"])] == ["masks-coco", "sam-h-box"]
    with pytest.raises(BenchError, match="masks-coco"):
        chosen("paper", ["masks-cocoo"])
