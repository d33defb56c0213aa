"""Clicks one after another: the published rule, the counts, and models that take not every click."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench.data import open_instances, read_rgb
from models.errors import BenchError, UnsupportedPrompt
from models.segmenter import BACKGROUND, FOREGROUND, Prompts
from protocols import click_curves, clicks
from protocols.axes import Axes, preset
from protocols.clicks_prompts import RECORD_TYPES, ask_image, steps
from protocols.predictors import ModelPredictor, Prediction, predictor_of
from protocols.prompts.positive_clicks import on_the_object
from protocols.prompts.random_clicks import ritm_click
from protocols.prompts.sequences import Clicks
from protocols.prompts.truths import Truths, truths_of
from protocols.run import run_model
from protocols.scores import CellRun
from protocols.table import make_tables
from tests.protocols.fakes import DiscModel, FakeRegistry, disc, instance_data, settings, write_coco
from tests.protocols.stubs import Stub, made_masks

RITM = Axes(clicks="ritm", tie="background", click_again=False)
pairs = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: st.tuples(*(hnp.arrays(bool, size) for _ in range(3)))
)


def published_click(truth, prediction, not_clicked):
    """Place a click as the clicker of RITM, SegNext and others does, by OpenCV; (x, y) and whether it is positive."""
    cv2 = pytest.importorskip("cv2")
    missed, extra = (
        cv2.distanceTransform(np.pad(wrong, 1).astype(np.uint8), cv2.DIST_L2, 0)[1:-1, 1:-1] * not_clicked
        for wrong in (truth & ~prediction, prediction & ~truth)
    )
    positive = missed.max() > extra.max()
    depth = missed if positive else extra
    rows, columns = np.where(depth == depth.max())
    return (columns[0], rows[0]), bool(positive)


@given(pairs)
def test_a_click_is_the_published_one(masks):
    truth, prediction, clicked = masks
    rows, columns = np.nonzero(clicked)
    (x, y), label = ritm_click(truth, prediction, tie="background", clicked=np.stack([columns, rows], 1))
    assert ((x, y), bool(label)) == published_click(truth, prediction, ~clicked)


@pytest.mark.parametrize("kind", ["synthetic", "perfect"])
def test_a_sequence_of_clicks_and_its_ious_are_those_of_the_published_loop(kind):
    """SegNext's evaluation of SAM: click, ask with all clicks and the last logits, take the most confident mask."""
    axes = preset("segnext")
    for info, annotations in made_masks(kind)[:6]:
        truths = truths_of(info, annotations, axes)
        if not truths.annotations:
            continue
        image, truth = np.zeros((info.height, info.width, 3), np.uint8), truths.masks[0]
        ours = ask_image(ModelPredictor(Stub(), axes), image, info, annotations, axes)
        stub = Stub()
        (embedding,) = stub.embed([image])
        prediction, not_clicked = np.zeros_like(truth), np.ones_like(truth)
        points, labels, logits, expected = [], [], None, []
        for _ in range(20):
            (x, y), positive = published_click(truth, prediction, not_clicked)
            not_clicked[y, x] = False
            points.append([x, y])
            labels.append(int(positive))
            three, scores = stub.segment(embedding, Prompts([points], [labels], logits))
            best = int(scores[0].argmax())
            prediction, logits = three[0, best].numpy() > 0, three[:, best]
            expected.append((truth & prediction).sum() / (truth | prediction).sum())
        assert [r["label"] for r in ours] == labels
        np.testing.assert_allclose([r["iou"] for r in ours], expected, rtol=0, atol=1e-12)


def test_the_last_logits_come_with_the_next_click_where_the_axes_say_so():
    info, annotations = made_masks("synthetic")[0]
    image = np.zeros((info.height, info.width, 3), np.uint8)
    for axes, fed in ((RITM, False), (preset("segnext"), True)):
        stub = Stub()
        ask_image(ModelPredictor(stub, axes), image, info, annotations, axes)
        assert stub.seen[0].mask_logits is None
        assert all((prompts.mask_logits is not None) == fed for prompts in stub.seen[1:])
    (embedding,) = stub.embed([image])
    answer, _ = stub.segment(embedding, stub.seen[0])
    assert torch.equal(stub.seen[1].mask_logits, answer[:, 1])


IOUS = np.array(
    [
        [0.50, 0.70, 0.86, 0.80, 0.92],  # 0.80 after 3 clicks, 0.85 after 3, 0.90 after 5
        [0.81, 0.60, 0.60, 0.60, 0.60],  # 1, never, never
        [0.10, 0.20, 0.30, 0.40, 0.50],  # never
    ]
)


def records_of(ious):
    return pd.DataFrame(
        {"image_id": 1 + row // 2, "annotation_id": row, "repeat": 0, "click": k, "iou": iou, "area": 2000.0,
         "iscrowd": False}
        for row, sequence in enumerate(ious)
        for k, iou in enumerate(sequence, start=1)
    )  # fmt: skip


def test_clicks_needed_and_area_are_as_counted_by_hand():
    assert clicks.clicks_needed(IOUS, 0.80).tolist() == [3, 1, 5]
    assert clicks.clicks_needed(IOUS, 0.85).tolist() == [3, 5, 5]
    assert clicks.clicks_needed(IOUS, 0.90).tolist() == [5, 5, 5]
    assert clicks.area_under(IOUS)[2] == pytest.approx((0.15 + 0.25 + 0.35 + 0.45) / 4)
    found = clicks.score(CellRun(records_of(IOUS), "f", 0, (1, 2), {}), instance_data(RITM)).intervals
    assert found["coco_noc80"].value == pytest.approx((3 + 1 + 5) / 3)
    assert found["coco_noc85"].value == pytest.approx((3 + 5 + 5) / 3)
    assert found["coco_iou3"].value == pytest.approx((0.86 + 0.60 + 0.30) / 3)
    assert found["coco_iou1"].n == 3
    assert found["coco_noc80"].low <= found["coco_noc80"].value <= found["coco_noc80"].high


@given(hnp.arrays(float, st.tuples(st.integers(1, 5), st.integers(1, 20)), elements=st.floats(0, 1)), st.floats(0, 1))
def test_an_evaluation_that_stops_at_the_goal_counts_the_same(ious, goal):
    def stopped(sequence):  # as RITM's evaluation leaves the loop
        for count, iou in enumerate(sequence, start=1):
            if iou >= goal:
                return count
        return len(sequence)

    assert clicks.clicks_needed(ious, goal).tolist() == [stopped(sequence) for sequence in ious]


def test_small_objects_are_left_out_and_differences_are_paired():
    run = records_of(IOUS)
    run.loc[run["annotation_id"] == 2, "area"] = 32.0**2 - 1
    ours = clicks.score(CellRun(run, "f", 0, (1, 2), {}), instance_data(preset("ultralytics")))
    assert ours.intervals["coco_noc80"].value == 2
    other = clicks.score(CellRun(run.assign(iou=run["iou"] / 2), "f", 0, (1, 2), {}), instance_data(RITM))
    difference = clicks.compare(ours, other)["coco_iou1"]
    assert difference.value == pytest.approx((0.50 + 0.81) / 4)


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path / "data", [[disc(8, 9, 5), disc(25, 20, 8)], [disc(20, 16, 6)]])
    return open_instances("coco", tmp_path / "data")


def ask(coco, model, axes=RITM):
    info = coco.images[0]
    records = ask_image(predictor_of(model, axes), read_rgb(info.path), info, coco.annotations(info.id), axes)
    return pd.DataFrame(records)


def test_every_object_has_a_record_a_click(coco):
    records = ask(coco, DiscModel())
    assert set(records) == set(RECORD_TYPES)
    assert records.groupby("annotation_id")["click"].apply(list).tolist() == [list(range(1, 21))] * 2
    assert ask(coco, DiscModel(), preset("ultralytics"))["click"].max() == 5


def test_random_clicks_are_those_of_table_4_and_are_repeated(coco):
    model = DiscModel()
    records = ask(coco, model, Axes(repeats=2))
    assert len(records) == 2 * 2 * 20
    assert (records["label"] == FOREGROUND).all()
    np.testing.assert_array_equal(model.seen[2].points[:, :2], model.seen[1].points)
    assert not np.array_equal(model.seen[20].points, model.seen[0].points)


class PositiveOnly(Stub):
    """Takes no background clicks."""

    def segment(self, embedding, prompts, *, multimask=True):
        if (prompts.labels != FOREGROUND).any():
            raise UnsupportedPrompt("model 'stub' takes no background points")
        return super().segment(embedding, prompts, multimask=multimask)


def test_a_model_without_background_clicks_is_clicked_on_the_object_alone(coco):
    free, bound = ask(coco, Stub()), ask(coco, PositiveOnly())
    assert (free["label"] == BACKGROUND).any()
    assert (bound["label"] == FOREGROUND).all()
    assert bound["instead"].any()
    assert not free["instead"].any()
    assert not bound["stands"].any()
    for _, one in bound.groupby("annotation_id"):
        before = one["click"] < one["click"][one["instead"]].min()
        np.testing.assert_array_equal(one["iou"][before], free.loc[one.index, "iou"][before])


def test_every_model_can_be_asked_so(coco):
    same = ask(coco, Stub(), Axes(clicks="ritm", tie="background", click_again=False, background_clicks="never"))
    pd.testing.assert_frame_equal(same, ask(coco, PositiveOnly()))


def test_edgesams_clicks_fall_on_the_object_too(coco):
    records = ask(coco, PositiveOnly(), Axes(clicks="centre"))
    assert (records["label"] == FOREGROUND).all()
    assert records["instead"].any()


@given(pairs.filter(lambda masks: masks[0].any()), st.integers(0, 3))
def test_a_click_instead_lies_on_the_object_and_where_some_is_missed_on_that(masks, count):
    truth, prediction, _ = masks
    rows, columns = np.nonzero(truth)
    before = Prompts([[[columns[-1], rows[-1]]] * count], [[FOREGROUND] * count]) if count else None
    answer = Prediction(prediction[None], np.ones(1), np.zeros(1))
    clicked = Clicks(np.zeros((1, 2), np.float32), np.array([BACKGROUND]))
    ((x, y),), (label,) = on_the_object(clicked, Truths([None], truth[None], truth[None]), before, answer)
    x, y = int(x), int(y)
    assert label == FOREGROUND
    assert truth[y, x]
    missed = truth & ~prediction
    if count:
        missed[rows[-1], columns[-1]] = False
    assert missed[y, x] or not missed.any()


class SixClicks(Stub):
    """Takes six points at most."""

    def segment(self, embedding, prompts, *, multimask=True):
        if prompts.labels.shape[1] > 6:
            raise UnsupportedPrompt("model 'stub' takes at most 6 points a prompt")
        return super().segment(embedding, prompts, multimask=multimask)


def test_the_last_answer_stands_for_clicks_that_a_model_does_not_take(coco):
    free, bound = ask(coco, Stub()), ask(coco, SixClicks())
    taken = bound["click"] <= 6
    pd.testing.assert_frame_equal(bound[taken], free[taken])
    assert (bound["stands"] == ~taken).all()
    for _, one in bound.groupby("annotation_id"):
        assert set(one["iou"][one["click"] >= 6]) == {one["iou"][one["click"] == 6].iloc[0]}


def test_a_model_that_takes_no_mask_prompt_is_refused_as_a_whole(coco):
    class NoMasks(Stub):
        def segment(self, embedding, prompts, *, multimask=True):
            if prompts.mask_logits is not None:
                raise UnsupportedPrompt("model 'stub' takes no mask prompt")
            return super().segment(embedding, prompts, multimask=multimask)

    assert len(ask(coco, NoMasks())) == 40
    with pytest.raises(UnsupportedPrompt, match="no mask prompt"):
        ask(coco, NoMasks(), preset("segnext"))


def test_steps_end_after_the_clicks_that_the_axes_ask_for(coco):
    info = coco.images[0]
    truths = truths_of(info, coco.annotations(info.id), RITM)
    predictor = ModelPredictor(Stub(), RITM)
    predictor.set_image(np.zeros((info.height, info.width, 3), np.uint8))
    assert len(list(steps(predictor, truths, Axes(clicks="ritm", most_clicks=3)))) == 3


@pytest.fixture
def work(tmp_path, coco, use):
    """A run of table `clicks` with some models as rows, and what a run in the store is opened with."""
    registry = FakeRegistry()
    use(clicks, registry, IMAGES_A_SHARD=1, micro_root=lambda: tmp_path / "data")

    def make(models, module=clicks, **changes):
        registry.models = {model.name: model for model in models}
        registry.CARDS = tuple(
            SimpleNamespace(name=name, paper_row=row, scale="micro", released=True, note="", threads=None, filename="f")
            for name, row in zip(registry.models, ("SAM", "EfficientSAM-Ti"), strict=False)
        )
        whole = settings(tmp_path / "runs", scale="micro", **changes)
        if hasattr(module, "make"):
            return module.make(module, whole)
        (result,) = make_tables([module], whole)
        return result

    return make


def named(kind, name):
    model = kind()
    model.name, model.checkpoint_sha256, model.custom = name, name * 8, False
    return model


def test_the_table_says_what_each_model_was_asked(work):
    result = work([named(Stub, "one"), named(PositiveOnly, "two")])
    assert result.preset == "segnext, but mask_prompt=none"
    assert result.provenance["preset"] == result.preset
    assert result.provenance["axes"]["clicks"] == "ritm"
    assert "the first 16 images" in result.world
    assert [column.key for column in result.columns][:4] == ["coco_noc80", "coco_noc85", "coco_noc90", "coco_auc"]
    assert result.cell("SAM", "coco_noc80").measured >= 1
    told = [note for note in result.footnotes if "takes no background clicks" in note]
    assert len(told) == 1
    assert told[0].startswith("EfficientSAM-Ti takes no background clicks, and gets clicks on the object alone")


def test_a_preset_has_its_own_columns_and_says_what_was_not_published(work):
    result = work([named(Stub, "one")], axes=preset("ultralytics"), preset="ultralytics")
    assert [column.key for column in result.columns] == ["coco_noc85", "coco_iou1", "coco_iou3", "coco_iou5"]
    assert any("which images and instances" in note for note in result.footnotes)
    assert {cell.why for cell in result.cells if cell.row == "SAM"} == {"no such object in the images that were asked"}
    with pytest.raises(BenchError, match="preset 'edgesam' has no column of clicks"):
        work([named(Stub, "one")], axes=preset("edgesam"), preset="edgesam")


def test_fewer_clicks_have_fewer_columns(work):
    result = work([named(Stub, "one")], axes=Axes(most_clicks=5), named=("most_clicks",))
    assert [column.key for column in result.columns][-1] == "coco_iou5"


def test_curves_are_the_same_runs_click_by_click(work):
    table = work([named(Stub, "one")])
    curves = work([named(Stub, "one")], click_curves)
    assert curves.provenance["runs"] == table.provenance["runs"]
    assert curves.x == tuple(range(1, 21))
    assert [row.label for row in curves.rows][:2] == ["1 click", "2 clicks"]
    for click in (1, 5, 20):
        label = f"{click} click{'s' * (click > 1)}"
        assert curves.cell(label, "SAM").measured == table.cell("SAM", f"coco_iou{click}").measured


class Failing(Stub):
    """Fails at its second image."""

    images = 0

    def embed(self, images):
        self.images += 1
        if self.images > 1:
            raise BenchError("model 'stub' answered with NaN")
        return super().embed(images)


def test_a_killed_run_goes_on_where_it_was(tmp_path, coco, use):
    use(clicks, FakeRegistry(), IMAGES_A_SHARD=1)
    data = instance_data(RITM, coco)
    with pytest.raises(BenchError, match="NaN"):
        run_model(named(Failing, "one"), [(clicks, data)], settings(tmp_path / "runs"))
    (done,) = run_model(named(Stub, "one"), [(clicks, data)], settings(tmp_path / "runs"))
    (fresh,) = run_model(named(Stub, "one"), [(clicks, data)], settings(tmp_path / "fresh"))
    assert (done.resumed, fresh.resumed) == (1, 0)
    pd.testing.assert_frame_equal(done.records, fresh.records)


def test_choices_that_only_score_ask_nothing_again(tmp_path, coco, use):
    use(clicks, FakeRegistry(), IMAGES_A_SHARD=1)
    kept = []
    for axes in (RITM, Axes(clicks="ritm", tie="background", click_again=False, crowd="keep", smallest_area=9.0)):
        (done,) = run_model(named(Stub, "one"), [(clicks, instance_data(axes, coco))], settings(tmp_path / "runs"))
        kept.append((done.fingerprint, done.resumed))
    assert kept == [(kept[0][0], 0), (kept[0][0], 2)]
