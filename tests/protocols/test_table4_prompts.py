from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.data import ImageInfo, open_instances, read_rgb
from bench.data.catalog import COCO
from models.errors import UnsupportedPrompt
from protocols import table4
from protocols import table4_prompts as interactive
from protocols.axes import PAPER, Axes, preset
from protocols.predictors import Ceiling, Floor, ModelPredictor, predictor_of
from protocols.table4_prompts import ask_boxes, ask_image
from tests.protocols.fakes import DiscModel, disc, write_coco


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path, [[disc(8, 9, 5), disc(25, 20, 8)], [disc(20, 16, 6)]], crowd=(2,))
    return open_instances("coco", tmp_path)


def ask(coco, predictor, axes=PAPER, image=0):
    info = coco.images[image]
    return ask_image(predictor_of(predictor, axes), read_rgb(info.path), info, coco.annotations(info.id), axes)


def test_every_object_is_asked_by_box_one_click_and_three(coco):
    records = ask(coco, ModelPredictor(DiscModel(), PAPER))
    asked = {(r["annotation_id"], r["prompt"], r["repeat"]) for r in records}
    assert asked == {(a, p, 0) for a in (1, 2) for p in ("box", "1click", "3click")}


@pytest.mark.parametrize(
    "axes", [PAPER, preset("efficientvit"), preset("segment-anything-fast"), Axes(repeats=2, refinement=1)]
)
def test_as_many_prompts_are_asked_as_the_table_counts(coco, axes):
    model = DiscModel()
    ask(coco, ModelPredictor(model, axes), axes)
    ask(coco, ModelPredictor(model, axes), axes, image=1)
    assert sum(map(len, model.seen)) == table4.count_prompts(replace(COCO, n_annotations=3), axes)


def test_asking_by_box_alone_gives_the_same_records(coco):
    info, model = coco.images[0], DiscModel()
    boxes = ask_boxes(ModelPredictor(model, PAPER), read_rgb(info.path), info, coco.annotations(info.id), PAPER)
    assert boxes == [r for r in ask(coco, ModelPredictor(DiscModel(), PAPER)) if r["prompt"] == "box"]
    assert (len(boxes), len(model.seen)) == (2, 1)
    assert ask_boxes(ModelPredictor(model, PAPER), read_rgb(info.path), info, [], PAPER) == []


def test_boxes_are_tight_and_inside_the_image(coco):
    model = DiscModel()
    ask(coco, ModelPredictor(model, PAPER))
    assert model.seen[0].points[0].tolist() == [[4, 5], [13, 14]]


def test_annotation_boxes_are_used_where_the_axes_say_so(coco):
    model = DiscModel()
    axes = Axes(box_source="annotation")
    ask(coco, ModelPredictor(model, axes), axes)
    assert model.seen[0].points[0].ravel().tolist() == list(coco.annotations(1)[0].box_xyxy)


def test_repeats_draw_other_clicks_of_the_same_objects(coco):
    axes = Axes(repeats=3)
    model = DiscModel()
    records = ask(coco, ModelPredictor(model, axes), axes)
    assert sum(r["prompt"] == "1click" for r in records) == 2 * 3
    assert not np.array_equal(model.seen[1].points, model.seen[3].points)


def test_clicks_do_not_depend_on_the_order_of_annotations(coco):
    info = coco.images[0]
    seen = []
    for annotations in (coco.annotations(1), coco.annotations(1)[::-1]):
        model = DiscModel()
        ask_image(ModelPredictor(model, PAPER), read_rgb(info.path), info, annotations, PAPER)
        seen.append(model.seen[2].points)
    np.testing.assert_array_equal(seen[0], seen[1][::-1])


def test_the_ceiling_is_whole_and_the_floor_is_below_it(coco):
    ceiling, floor = ask(coco, Ceiling()), ask(coco, Floor())
    assert all(r["iou"] > 0.97 for r in ceiling)
    assert all(f["iou"] < c["iou"] for f, c in zip(floor, ceiling, strict=True))


def test_efficientvits_clicks_are_placed_by_the_last_answer(coco):
    model = DiscModel()
    axes = preset("efficientvit")
    records = ask(coco, ModelPredictor(model, axes), axes)
    assert [r["prompt"] for r in records] == ["box"] * 2 + ["1click"] * 2 + ["3click"] * 2
    assert [prompts.points.shape[1] for prompts in model.seen] == [2, 1, 2, 3]
    assert model.seen[1].points[0, 0].tolist() == [8, 9], "the first click is the deepest pixel"
    np.testing.assert_array_equal(model.seen[3].points[:, :2], model.seen[2].points)


def test_a_kind_of_prompt_that_a_model_cannot_take_leaves_the_others(coco):
    axes = preset("efficientvit")
    records = ask(coco, ModelPredictor(DiscModel(takes_background=False, best=2), axes), axes)
    assert {r["prompt"] for r in records if not r["refused"]} == {"box", "1click"}
    refused = [r for r in records if r["prompt"] == "3click"]
    assert len(refused) == 2
    assert all("background" in r["refused"] and np.isnan(r["iou"]) for r in refused)


def test_a_model_that_can_take_no_prompt_at_all_says_so(coco):
    class Refuses(DiscModel):
        def segment(self, embedding, prompts, *, multimask=True):
            raise UnsupportedPrompt("model 'disc' takes nothing")

    with pytest.raises(UnsupportedPrompt, match="takes nothing"):
        ask(coco, ModelPredictor(Refuses(), PAPER))


def test_prompts_asked_in_parts_give_the_records_of_all_at_once(coco, monkeypatch):
    def key(record):
        return record["prompt"], record["annotation_id"]

    info = coco.images[0]
    annotations = [replace(one, id=1 + k) for k, one in enumerate(coco.annotations(1) * 40)]
    image = read_rgb(info.path)
    model = DiscModel()
    whole = ask_image(ModelPredictor(model, PAPER), image, info, annotations, PAPER)
    monkeypatch.setattr(interactive, "MEMORY", 20 * interactive.BYTES_A_PIXEL * info.height * info.width)
    model.seen.clear()
    in_parts = ask_image(ModelPredictor(model, PAPER), image, info, annotations, PAPER)
    assert sorted(in_parts, key=key) == sorted(whole, key=key)
    assert len(whole) == 3 * 80


def test_many_objects_are_never_held_at_once(coco, monkeypatch):
    monkeypatch.setattr(interactive, "MEMORY", interactive.MEMORY // 4)

    class Watched(Floor):
        largest = looks = 0

        def set_image(self, image):
            super().set_image(image)
            self.looks += 1

        def predict(self, prompts, truths):
            self.largest = max(self.largest, len(prompts) * truths[0].size)
            return super().predict(prompts, truths)

    info = replace(coco.images[0], height=480, width=640)
    polygon = [[10.0, 10.0, 60.0, 10.0, 60.0, 60.0, 10.0, 60.0]]
    one = replace(coco.annotations(1)[0], segmentation=polygon)
    crowd = [replace(one, id=1 + k) for k in range(100)]
    watched = Watched()
    records = ask_image(watched, np.zeros((480, 640, 3), np.uint8), info, crowd, PAPER)
    assert len(records) == 3 * 100
    assert watched.largest * interactive.BYTES_A_PIXEL <= interactive.MEMORY
    assert watched.looks == 1, "the image is embedded once"


def test_an_image_without_objects_is_not_even_embedded(coco):
    class Blind(Floor):
        def set_image(self, image):
            raise AssertionError

    info = ImageInfo(9, coco.images[0].path, 32, 40)
    assert ask_image(Blind(), np.zeros((32, 40, 3), np.uint8), info, [], PAPER) == []


def test_edgesams_clicks_need_logits_in_a_padded_frame_and_the_first_does_not(coco):
    axes = preset("edgesam")
    records = ask(coco, ModelPredictor(DiscModel(), axes), axes)
    refused = {r["prompt"]: r["refused"] for r in records}
    assert refused["box"] == refused["1click"] == ""
    assert "low-resolution logits" in refused["3click"]


@pytest.mark.parametrize("frame", [Floor, Ceiling])
def test_the_frames_are_clicked_as_edgesam_clicks(coco, frame):
    records = ask(coco, frame(), preset("edgesam"))
    assert {r["prompt"] for r in records if np.isfinite(r["iou"])} == {"box", "1click", "3click"}


def test_boxes_end_at_the_last_pixel_where_the_axes_say_so(coco):
    model = DiscModel()
    axes = Axes(box_source="tight_last_pixel")
    ask(coco, ModelPredictor(model, axes), axes)
    assert model.seen[0].points[0].tolist() == [[4, 5], [12, 13]]


@pytest.mark.parametrize(("clip", "corner"), [(True, [40, 32]), (False, [50.5, 33.25])])
def test_annotation_boxes_are_clipped_only_where_the_axes_say_so(coco, clip, corner):
    info, model = coco.images[0], DiscModel()
    one = replace(coco.annotations(1)[0], written_box_xyxy=(-3.5, 2.0, 50.5, 33.25))
    axes = Axes(box_source="annotation", clip_boxes=clip)
    ask_image(ModelPredictor(model, axes), read_rgb(info.path), info, [one], axes)
    assert model.seen[0].points[0].tolist() == [[0 if clip else -3.5, 2], corner]


def without_pixels(annotation, info):
    size = [info.height, info.width]
    return replace(annotation, segmentation={"size": size, "counts": [info.height * info.width]})


class Silent(DiscModel):
    """Answers nothing at all."""

    def masks(self, logits, size):
        return torch.zeros_like(logits, dtype=torch.bool)


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        ("paper", DiscModel(), []),
        ("efficientvit", DiscModel(), [0.0]),
        ("efficientvit", Silent(), [0.0]),
        ("edgesam", DiscModel(), [0.0]),
        ("edgesam", Silent(), [np.nan]),
    ],
)
def test_masks_without_a_pixel_count_as_each_evaluator_counts_them(coco, name, model, expected):
    info, axes = coco.images[0], preset(name)
    nothing = replace(
        coco.annotations(1)[0], segmentation={"size": [info.height, info.width], "counts": [info.height * info.width]}
    )
    records = ask_image(ModelPredictor(model, axes), read_rgb(info.path), info, [nothing], axes)
    np.testing.assert_array_equal([r["iou"] for r in records if r["prompt"] == "1click"], expected)


def test_efficientvit_clicks_the_first_pixel_of_a_mask_without_one_as_background(coco):
    info, axes, model = coco.images[0], preset("efficientvit"), Silent()
    nothing = replace(
        coco.annotations(1)[0], segmentation={"size": [info.height, info.width], "counts": [info.height * info.width]}
    )
    ask_image(ModelPredictor(model, axes), read_rgb(info.path), info, [nothing], axes)
    assert (model.seen[1].points[0].tolist(), model.seen[1].labels[0].tolist()) == ([[0, 0]], [0])
