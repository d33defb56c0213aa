"""Which choice moved a number: planted changes are named first, their intervals hold the truth, shares add up."""

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from bench.data.contents import digest
from bench.draws import Draws
from bench.metrics.interval import mean_draws
from models.errors import BenchError
from protocols import clicks, table4, table5
from protocols.axes import NEEDS, PAPER, PRESETS, in_effect
from protocols.chosen import concerning
from protocols.comparisons import Sampled
from protocols.inspect.explain import (
    AFTER,
    BEFORE,
    CLICKS,
    Change,
    axes_at,
    changes,
    column_of,
    explain,
    published_number,
    read_protocol,
)
from protocols.inspect.explain_run import measure
from protocols.inspect.shares import shares
from protocols.run import run_model
from tests.protocols.fakes import DiscModel, FakeCard, FakeRegistry, disc, settings, using, write_coco

IMAGES, OBJECTS = 60, 3
OTHER = {
    "mask_pick": "single", "refinement": 1, "score": "detector_x_predicted_iou", "first_click": "centre_of_mass",
    "tie": "background", "click_again": False, "click_frame": "low_resolution", "mask_prompt": "previous",
    "smallest_error": 10, "truth_raster": "frame", "empty": "zero", "seed": 1, "repeats": 3, "crowd": "keep",
    "smallest_area": 32.0**2, "averaging": "category", "box_source": "annotation", "clip_boxes": False,
    "lvis_images": "val2017", "detection_cap": "image", "precision": "bf16", "clicks": "ritm",
}  # fmt: skip
"""Another value of every axis than the paper's."""
LARGE, LESS, SMALL = 0.10, 0.06, 0.004
"""Effects on IoU that are planted, and those of the choices around them."""


def test_every_axis_of_the_tables_is_planted_below():
    known = {*OTHER, "columns", "most_clicks", "background_clicks"}
    assert {name for table in (table4, table5) for name in concerning(table)} <= known


class World:
    """Objects whose IoU moves by a known amount with each axis in effect; what each object shows of it varies."""

    def __init__(self, effects):
        self.effects = effects
        self.images = np.repeat(np.arange(IMAGES), OBJECTS)
        self.base = np.random.default_rng(0).normal(0.6, 0.1, len(self.images))

    def sampled(self, axes, names):
        values = self.base.copy()
        for name, value in in_effect(axes, names).items():
            if value != getattr(PAPER, name):
                rng = np.random.default_rng(int(digest([name, *names])[:8], 16))
                values += self.effects[name] + rng.normal(0, 0.3 * abs(self.effects[name]), len(values))
        draws = mean_draws(values, self.images, np.arange(IMAGES), replicates=400)
        return Sampled(float(values.mean()), draws, IMAGES, n=len(values))


def beside(names):
    """Return the clicks beside which all of some axes mean something, None if there are none."""
    kinds = {"centre", "random", "ritm"}.intersection(*(NEEDS[name] for name in names if name in NEEDS))
    if "clicks" in names:
        return None if NEEDS.keys() & set(names) else "random"
    return min(kinds, default=None)


def explained(names, planted, kind):
    """Return the explanation of the change of some axes from the paper's, of which some have a planted effect."""
    first = replace(PAPER, clicks=kind)
    found = [Change(name, getattr(first, name), OTHER[name], CLICKS if name == "clicks" else None) for name in names]
    plan = shares([change.rank for change in found], orders=1)
    world = World({name: planted.get(name, SMALL) for name in names})
    points = {point: axes_at(first, "coco_3click", found, point) for point in plan.points}
    return explain(found, plan, {point: world.sampled(axes, names) for point, axes in points.items()})


AROUND = ("crowd", "truth_raster", "averaging")
"""Choices of a small effect that change together with the planted ones."""


@pytest.mark.parametrize("planted", [1, 2], ids=["alone", "in pairs"])
def test_planted_changes_are_named_first_and_their_intervals_hold_the_truth(planted):
    held = []
    for names in combinations(OTHER, planted):
        kind = beside(names)
        if kind is None:
            continue
        effects = dict(zip(names, (LARGE, LESS), strict=False))
        others = [one for one in AROUND if one not in names][:2]
        found = explained([*names, *others], effects, kind)
        assert [part.change.axis for part in found.parts[:planted]] == list(names)
        assert sum(part.share.value for part in found.parts) == pytest.approx(found.gap.value, abs=1e-12)
        held += [part.share.low <= effects[part.change.axis] <= part.share.high for part in found.parts[:planted]]
    assert len(held) > (20 if planted == 1 else 300)
    expected, spread = 0.95 * len(held), (0.95 * 0.05 * len(held)) ** 0.5
    assert sum(held) >= expected - 3 * spread


def test_what_two_changes_do_together_is_shared_between_them():
    found = [Change("mask_pick", "predicted_iou", "single", None), Change("refinement", 0, 1, None)]
    plan = shares([None, None], orders=1)
    values = {frozenset(): 0.5, frozenset({0}): 0.5, frozenset({1}): 0.5, frozenset({0, 1}): 0.7}
    still = {point: Sampled(value, np.full(9, value), 9) for point, value in values.items()}
    result = explain(found, plan, still)
    assert [part.share.value for part in result.parts] == pytest.approx([0.1, 0.1])
    assert [part.alone.value for part in result.parts] == [0, 0]
    assert result.gap.value == pytest.approx(0.2)


class TestWhichChangesThereAre:
    def test_what_means_nothing_to_a_column_is_no_change(self):
        second = PRESETS["efficientvit"]
        names = [change.axis for change in changes(table4, "coco_1click", PAPER, second)]
        assert names == ["clicks", "empty", "crowd", "smallest_area"]
        assert [change.axis for change in changes(table4, "coco_box", PAPER, replace(second, empty="skip"))] == [
            "crowd", "smallest_area", "box_source", "clip_boxes",
        ]  # fmt: skip

    def test_boxes_of_empty_annotations_are_asked_beside_clicks_that_need_no_pixel(self):
        found = changes(table4, "coco_box", PAPER, replace(PRESETS["efficientvit"], crowd="skip", smallest_area=0.0))
        assert {change.axis: change.rank for change in found} == {
            "clicks": CLICKS, "empty": AFTER, "box_source": None, "clip_boxes": None,
        }  # fmt: skip

    def test_an_axis_that_the_other_clicks_have_no_use_for_changes_on_their_side(self):
        found = changes(table4, "coco_3click", PRESETS["efficientvit"], PRESETS["edgesam"])
        ranks = {change.axis: change.rank for change in found}
        assert ranks["clicks"] == CLICKS
        assert {name for name, rank in ranks.items() if rank == BEFORE} == {"tie", "click_again"}
        assert {name for name, rank in ranks.items() if rank == AFTER} == {
            "first_click",
            "click_frame",
            "smallest_error",
        }
        assert ranks["mask_pick"] is None

    def test_no_point_on_the_way_holds_a_choice_without_meaning(self):
        first, second = PRESETS["efficientvit"], PRESETS["edgesam"]
        found = changes(table4, "coco_3click", first, second)
        plan = shares([change.rank for change in found], orders=20)
        keys = {
            frozenset(in_effect(axes_at(first, "c", found, point), concerning(table4)).items()) for point in plan.points
        }
        assert len(keys) == len(plan.points)  # each step changes something that has an effect

    def test_the_way_back_gives_the_same_shares_with_the_other_sign(self):
        other = PRESETS["efficientvit"]
        there, back = (changes(table4, "coco_3click", *ends) for ends in ((PAPER, other), (other, PAPER)))
        names = [change.axis for change in there]
        assert names == [change.axis for change in back]

        def share(found, first):
            plan = shares([change.rank for change in found], orders=1)
            points = [in_effect(axes_at(first, "coco_3click", found, point), names) for point in plan.points]
            values = [Draws(int(digest([repr(point)])[:8], 16), 0).uniform() for point in points]
            return plan.weights @ values

        assert share(there, PAPER) == pytest.approx(-share(back, other), abs=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("paper", PAPER),
        ("tinysam, mask_pick=single", replace(PRESETS["tinysam"], mask_pick="single")),
        ("tinysam, but mask_pick=single", replace(PRESETS["tinysam"], mask_pick="single")),
        ("clicks=ritm,tie=background", replace(PAPER, clicks="ritm", tie="background")),
    ],
)
def test_a_protocol_is_a_preset_and_what_it_has_otherwise(text, expected):
    assert read_protocol(text, table4) == expected


def test_the_papers_protocol_of_a_table_of_ours_is_its_usual_one():
    assert read_protocol("paper", clicks).clicks == "ritm"


@pytest.mark.parametrize(
    ("text", "said"),
    [("papr", "did you mean 'paper'"), ("paper,tinysam", "names 2 presets"), ("columns=coco_box", "--column names")],
)
def test_what_is_no_protocol_is_refused(text, said):
    with pytest.raises(BenchError, match=said):
        read_protocol(text, table4)


def test_a_column_that_one_evaluator_lacks_is_refused():
    with pytest.raises(BenchError, match="take coco_1click"):
        column_of(table4, "coco_box", PAPER, PRESETS["segment-anything-fast"])
    assert column_of(table4, None, PAPER, PRESETS["segment-anything-fast"]) == "coco_1click"


class TestAgainstAPublishedNumber:
    CARD = FakeCard("sam-vit-h", "SAM")

    def test_of_several_protocols_one_must_be_named(self):
        with pytest.raises(BenchError, match=r"published under paper, tinysam.*PUBLISHED:paper"):
            published_number(table5, "coco_ap", self.CARD, "")
        assert published_number(table5, "coco_ap", self.CARD, "tinysam").value == pytest.approx(0.466)

    def test_a_model_that_nobody_published_has_none(self):
        with pytest.raises(BenchError, match="no number of mine in table5 coco_ap was published"):
            published_number(table5, "coco_ap", FakeCard("mine", None), "")

    def test_what_no_choice_explains_is_the_rest(self):
        found = [Change("mask_pick", "single", "predicted_iou", None)]
        plan = shares([None], orders=1)
        draws = np.linspace(-0.02, 0.02, 101)
        measured = {frozenset(): Sampled(0.40, 0.40 + draws, 50), frozenset({0}): Sampled(0.44, 0.44 + draws, 50)}
        number = published_number(table5, "coco_ap", self.CARD, "tinysam")
        result = explain(found, plan, measured, number)
        assert result.parts[0].share.value + result.rest.value == pytest.approx(number.value - 0.40)
        assert (result.rest.low, result.rest.high) == pytest.approx((0.026 - 0.019, 0.026 + 0.019))


class Sure(DiscModel):
    """Discs of which the single-mask token gives the smallest."""

    def __init__(self):
        super().__init__(best=2)


class Registry(FakeRegistry):
    CARDS = (FakeCard("disc", "SAM", scale="micro", filename="disc.pt"),)


@pytest.fixture
def asked(tmp_path):
    """Measure the disc model on a few discs, one of them a crowd, and return what moved the number."""
    masks = [[disc(14 + k, 14, 11), disc(34, 24, 3 + k % 3), disc(6, 26, 4)] for k in range(6)]
    write_coco(tmp_path / "data", masks, crowd=(3, 9))
    Registry.models = {"disc": Sure()}

    def run(table, column, first, second):
        first, second = read_protocol(first, table), read_protocol(second, table)
        found = changes(table, column, first, second)
        plan = shares([change.rank for change in found], orders=1)
        points = [axes_at(first, column, found, point) for point in plan.points]
        chosen = settings(tmp_path / "runs", models=("disc",), scale="micro")
        with using(table, Registry(), tmp_path / "data"):
            values = measure(table, column, points, chosen)
        return explain(found, plan, dict(zip(plan.points, values, strict=True)))

    return run


@pytest.mark.parametrize(
    ("column", "planted", "around"),
    [
        ("coco_box", "mask_pick=single", ""),
        ("coco_box", "mask_pick=single", ",crowd=keep"),
        ("coco_box", "mask_pick=single", ",averaging=category,box_source=annotation,clip_boxes=false"),
        ("coco_1click", "mask_pick=single", ",seed=3,repeats=2,smallest_area=40"),
        ("coco_1click", "clicks=centre", ",first_click=centre_of_mass,truth_raster=frame"),
        ("coco_3click", "clicks=ritm", ",tie=background,click_again=false,crowd=keep"),
    ],
)
def test_the_choice_that_moved_a_measured_number_is_named_first(asked, column, planted, around):
    found = asked(table4, column, "paper", planted + around)
    assert len(found.parts) == 1 + around.count(",")
    assert found.parts[0].change.axis == planted.partition("=")[0]
    assert sum(part.share.value for part in found.parts) == pytest.approx(found.gap.value, abs=1e-12)
    assert found.gap.value == pytest.approx(found.second.value - found.first.value, abs=1e-12)
    direct = asked(table4, column, "paper", planted).gap
    assert found.parts[0].alone == direct
    assert found.parts[0].share.low <= direct.value <= found.parts[0].share.high


def test_a_difference_has_the_interval_that_the_table_gives_it(asked, tmp_path):
    found = asked(table4, "coco_box", "paper", "mask_pick=single")
    runs = {}
    for axes in (PAPER, replace(PAPER, mask_pick="single")):
        data = table4.open_data("coco", SimpleNamespace(root=tmp_path / "data"), settings(tmp_path / "r", axes=axes))
        with using(table4, Registry(), tmp_path / "data"):
            (run,) = run_model(Sure(), [(table4, data)], settings(tmp_path / "r"))
        runs[axes.mask_pick] = table4.score(run, data)
    expected = table4.compare(runs["single"], runs["predicted_iou"])["coco_box"]
    assert found.gap[:3] == pytest.approx(expected[:3], abs=1e-12)


def test_what_ranks_detections_is_found_in_table_5(asked):
    found = asked(table5, "coco_ap", "paper", "mask_pick=single,score=detector_x_predicted_iou")
    assert found.parts[0].change.axis == "mask_pick"
    assert sum(part.share.value for part in found.parts) == pytest.approx(found.gap.value, abs=1e-12)


def test_protocols_that_ask_alike_are_asked_once_and_images_are_embedded_once(asked):
    model = Sure()
    embedded = []
    model.embed = lambda images: embedded.append(1) or DiscModel.embed(model, images)
    Registry.models = {"disc": model}
    asked(table4, "coco_box", "paper", "mask_pick=single,crowd=keep,averaging=category")
    assert len(embedded) == 6
    assert len(model.seen) == 6 * 2


def test_a_protocol_that_the_model_cannot_follow_is_named(asked):
    Registry.models = {"disc": DiscModel(takes_background=False)}
    with pytest.raises(BenchError, match=r"disc has no number under '.*clicks=ritm.*takes no background points"):
        asked(table4, "coco_3click", "paper", "clicks=ritm")
