"""Boundaries, prompts that miss a little, and the pick."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import open_instances, read_rgb
from bench.metrics.boundary import boundary_iou
from protocols import robustness, table4_prompts
from protocols.axes import PAPER, Axes
from protocols.predictors import predictor_of
from protocols.prompts.jitter import jittered_boxes, jittered_clicks
from protocols.robustness_prompts import RECORD_TYPES, ask_image
from protocols.scores import CellRun
from tests.protocols.fakes import DiscModel, disc, instance_data, write_coco

NAMES = ["box", "box5", "box10", "box20", "click", "click5", "click10", "click20"]
SIZE = (60, 80)
corners = st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(2, 40), st.integers(2, 30))


@given(corners, st.integers(0, 2**40), st.sampled_from([0.05, 0.1, 0.2]))
def test_a_jittered_box_stays_near_its_box_and_in_the_image_and_is_a_box(corner, number, share):
    x, y, width, height = corner
    box = np.array([[x, y, x + width, y + height]], float)
    (moved,) = jittered_boxes(box, share, np.array([number]), 0, SIZE)
    assert (np.abs(moved - box[0]) <= share * np.array([width, height, width, height])).all()
    assert moved[0] < moved[2]
    assert moved[1] < moved[3]
    assert (moved >= 0).all()
    assert (moved <= [80, 60, 80, 60]).all()


@given(corners, st.integers(0, 2**40), st.sampled_from([0.05, 0.1, 0.2]))
def test_a_jittered_click_is_a_pixel_near_its_click(corner, number, share):
    x, y, width, height = corner
    box, click = np.array([[x, y, x + width, y + height]], float), np.array([[x + 1.0, y + 1.0]])
    (moved,) = jittered_clicks(click, box, share, np.array([number]), 0, SIZE)
    assert (np.abs(moved - click[0]) <= share * np.array([width, height]) + 0.5).all()
    assert (moved >= 0).all()
    assert (moved <= [79, 59]).all()
    assert (moved == np.round(moved)).all()


def test_misses_belong_to_the_object_and_grow_in_one_direction():
    boxes, ids = np.array([[20.0, 20, 50, 40], [10.0, 10, 30, 30]]), np.array([4, 9])
    small, large = (jittered_boxes(boxes, share, ids, 0, SIZE) - boxes for share in (0.05, 0.2))
    np.testing.assert_allclose(large, 4 * small)
    alone = jittered_boxes(boxes[1:], 0.05, ids[1:], 0, SIZE)
    np.testing.assert_array_equal(alone[0] - boxes[1], small[1])
    assert not np.array_equal(jittered_boxes(boxes, 0.05, ids, 1, SIZE) - boxes, small)


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path, [[disc(8, 9, 5), disc(25, 20, 8)], [disc(20, 16, 6)]], crowd=(2,))
    return open_instances("coco", tmp_path)


def ask(coco, model, axes=PAPER, image=0):
    info = coco.images[image]
    return ask_image(predictor_of(model, axes), read_rgb(info.path), info, coco.annotations(info.id), axes)


def test_every_object_is_asked_by_box_and_click_exact_and_off(coco):
    records = ask(coco, DiscModel())
    assert [r["prompt"] for r in records if r["annotation_id"] == 1] == NAMES
    assert set(records[0]) == set(RECORD_TYPES)


def test_all_models_see_the_same_misses(coco):
    one, other = DiscModel(best=1), DiscModel(best=2)
    ask(coco, one)
    ask(coco, other)
    for ours, theirs in zip(one.seen, other.seen, strict=True):
        np.testing.assert_array_equal(ours.points, theirs.points)


def test_regret_is_what_the_best_candidate_has_over_the_picked_one(coco):
    truth, answers = disc(8, 9, 5), [disc(8.5, 9.5, radius) for radius in DiscModel.radii]
    picked, *others = [(answer & truth).sum() / (answer | truth).sum() for answer in answers]
    (record,) = [r for r in ask(coco, DiscModel(best=0)) if (r["prompt"], r["annotation_id"]) == ("box", 1)]
    assert record["iou"] == pytest.approx(picked)
    assert record["best_iou"] == pytest.approx(max(others))
    assert record["best_iou"] > record["iou"]
    single = [r for r in ask(coco, DiscModel(), Axes(mask_pick="single")) if r["prompt"] == "box"]
    assert all(r["best_iou"] == r["iou"] for r in single)


def test_the_boundary_is_that_of_the_answer_to_the_box(coco):
    records = ask(coco, DiscModel(best=0))
    (record,) = [r for r in records if (r["prompt"], r["annotation_id"]) == ("box", 1)]
    assert record["boundary_iou"] == boundary_iou(disc(8.5, 9.5, 3)[None], disc(8, 9, 5)[None])[0]
    assert all(np.isnan(r["boundary_iou"]) and np.isnan(r["best_iou"]) for r in records if r["prompt"] != "box")


def scores(coco, model, axes=PAPER):
    frame = pd.DataFrame([r for image in (0, 1) for r in ask(coco, model, axes, image)])
    return robustness.score(CellRun(frame, "f", 0, (1, 2), {}), instance_data(axes)), frame


def test_columns_are_means_over_objects_without_crowds(coco):
    found, frame = scores(coco, DiscModel())
    assert set(found.intervals) == {column.key for column in robustness.COLUMNS}
    kept = frame[~frame["iscrowd"]]
    for key in ("box", "box20", "click10"):
        value = kept[kept["prompt"] == key]["iou"].mean()
        assert (found.intervals[f"coco_{key}"].value, found.intervals[f"coco_{key}"].n) == (pytest.approx(value), 2)
    boxes = kept[kept["prompt"] == "box"]
    assert found.intervals["coco_regret"].value == pytest.approx((boxes["best_iou"] - boxes["iou"]).mean())


def test_where_no_object_counts_there_is_no_number(coco):
    found, _ = scores(coco, DiscModel(), Axes(smallest_area=1e6))
    assert found.intervals == {}


def test_differences_are_paired_over_objects(coco):
    one, other = scores(coco, DiscModel(best=1))[0], scores(coco, DiscModel(best=0))[0]
    found = robustness.compare(one, other)
    for key, interval in found.items():
        assert interval.value == pytest.approx(one.intervals[key].value - other.intervals[key].value)
        assert interval.n == 2


def test_exact_prompts_are_those_of_table_4(coco):
    info = coco.images[0]
    theirs = table4_prompts.ask_image(
        predictor_of(DiscModel(), PAPER), read_rgb(info.path), info, coco.annotations(info.id), PAPER
    )
    of_table4 = {(r["annotation_id"], r["prompt"]): r["iou"] for r in theirs}
    for record in ask(coco, DiscModel()):
        prompt = {"box": "box", "click": "1click"}.get(record["prompt"])
        assert prompt is None or record["iou"] == of_table4[record["annotation_id"], prompt]
