"""Every preset prints what its published evaluator prints when the same stub stands for the model (see stubs.py)."""

import json
import zlib
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from bench.data import open_detections, open_instances
from bench.metrics.ap import coco_ap, lvis_ap
from protocols import table4, table5
from protocols import table5_prompts as instance
from protocols.axes import PRESETS, preset
from protocols.predictors import ModelPredictor
from protocols.prompts import error_clicks, sequences
from protocols.prompts.frame import Frame
from protocols.prompts.sequences import clicked
from protocols.prompts.truths import boxes_of, ious, truths_of
from protocols.scores import CellRun
from protocols.table4_prompts import ask_image
from tests.protocols.fakes import instance_data
from tests.protocols.stubs import GOLDEN, PaddedStub, Stub, made_masks

STUBS = {"efficientvit": Stub, "edgesam": PaddedStub, "segment-anything-fast": Stub}
CLICKS = {"efficientvit": 5, "edgesam": 5, "segment-anything-fast": 1}
"""How many the golden sequences have."""
TOLERANCE = 2e-6
"""Of an IoU: golden ones are float32, and efficientvit's have 1e-7 pixels more in the denominator."""
PHOTOS = 6
"""Images of the photo sets that are asked here; all 50 agree."""


@pytest.fixture(scope="session")
def made():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def photos(shared):
    with np.load(shared / "golden" / "evaluators.npz") as arrays:
        return dict(arrays)


class Asked(NamedTuple):
    """What our asking code did, a row an annotation; as in the golden arrays."""

    clicks: np.ndarray
    ious: np.ndarray
    candidates: list[np.ndarray]
    """For each error click [N, 3]: how many cells were missed, how many extra, and the crc32 of both."""


def without_crowds(annotations, axes):
    return [one for one in annotations if axes.crowd == "keep" or not one.iscrowd]


def follow(name, image, answers, *, draws=None, boxes=False, monkeypatch=None):
    """Ask about one image, its error clicks drawn as the published ones were."""
    info, annotations = image
    axes = preset(name)
    truths = truths_of(info, without_crowds(annotations, axes), axes)
    predictor = ModelPredictor(STUBS[name](), axes)
    predictor.set_image(np.zeros((info.height, info.width, 3), np.uint8))
    seen = []

    def recorded(errors, **key):
        both = errors.missed | errors.extra
        seen.append((errors.missed.sum(), errors.extra.sum(), zlib.crc32(np.packbits(both).tobytes())))
        return error_clicks.error_click(errors, **key)

    if draws is not None:
        drawn = dict(zip([one.id for one in truths.annotations], draws, strict=True))
        monkeypatch.setattr(
            error_clicks, "draw", lambda n, *, position, annotation_id, **_: drawn[annotation_id][position - 1]
        )
        monkeypatch.setattr(sequences, "error_click", recorded)
    start = boxes_of(truths, axes) if boxes else None
    sequence = list(clicked(predictor, truths, axes, answers, start=start))
    values, prompts = [ious(answer.masks, truths, axes) for _, answer in sequence], sequence[-1][0]
    points, labels = prompts.points[:, 2 * boxes :], prompts.labels[:, 2 * boxes :]
    if name == "edgesam":
        frame = Frame.of((info.height, info.width))
        points = points * np.array(frame.inner[::-1]) / np.array(frame.size[::-1])
    clicks = np.concatenate([points, labels[..., None]], -1)
    count = len(truths.annotations)
    return Asked(clicks, np.stack(values, 1), [np.array(seen[k : k + count]) for k in range(0, len(seen), count)])


def assert_same(asked, golden, rows, name, kind, start="clicks"):
    """Hold clicks, candidates and IoUs to the golden ones of some rows."""
    key = f"{name.replace('-', '_')}_{kind}"
    count = asked.clicks.shape[1]
    np.testing.assert_allclose(asked.clicks, golden[f"{key}_{start}"][rows, :count], atol=1e-3)
    for k, found in enumerate(asked.candidates):
        for column, what in enumerate(("missed", "extra", "crc32")):
            np.testing.assert_array_equal(found[:, column], golden[f"{key}_{start}_{what}"][rows, k])
    prompts = [f"click{k}" for k in range(1, count + 1)]
    if start == "box":
        prompts = ["box", *(f"box_{prompt}" for prompt in prompts)]
    for k, prompt in enumerate(prompts):
        if f"{key}_{prompt}_iou" in golden:
            scale = 100 if name == "efficientvit" else 1
            expected = golden[f"{key}_{prompt}_iou"][rows].astype(float) / scale
            np.testing.assert_allclose(asked.ious[:, k], expected, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["synthetic", "perfect"])
@pytest.mark.parametrize("name", CLICKS)
def test_made_masks_get_the_published_clicks_and_ious(made, name, kind, monkeypatch):
    for row, image in enumerate(made_masks(kind)):
        if name == "segment-anything-fast" and not image[1][0].mask(image[0].height, image[0].width).any():
            continue  # the published code stops there
        draws = made[f"edgesam_{kind}_clicks_drawn"][[row]] if name == "edgesam" else None
        asked = follow(name, image, CLICKS[name], draws=draws, monkeypatch=monkeypatch)
        assert_same(asked, made, [row], name, kind)


@pytest.mark.parametrize("kind", ["synthetic", "perfect"])
def test_made_masks_get_edgesams_clicks_and_ious_after_a_box(made, kind, monkeypatch):
    for row, image in enumerate(made_masks(kind)):
        draws = made[f"edgesam_{kind}_box_drawn"][[row]]
        asked = follow("edgesam", image, 3, draws=draws, boxes=True, monkeypatch=monkeypatch)
        assert_same(asked, made, [row], "edgesam", kind, "box")


def photo_images(shared, name="coco", most=PHOTOS):
    """Return the first photos in the order of the file, with the annotations' rows in the golden arrays."""
    instances = open_instances(name, shared / "samples")
    listed = json.loads(instances.annotation_path.read_text())
    row_of = {one["id"]: row for row, one in enumerate(listed["annotations"])}
    infos = {info.id: info for info in instances.images}
    for entry in listed["images"][:most]:
        annotations = instances.annotations(entry["id"], with_empty=True)
        yield (infos[entry["id"]], annotations), row_of


@pytest.mark.parametrize("name", STUBS)
def test_photos_get_the_published_clicks_and_ious(shared, photos, name, monkeypatch):
    for image, row_of in photo_images(shared):
        kept = without_crowds(image[1], preset(name))
        if kept:
            rows = [row_of[one.id] for one in kept]
            draws = photos["edgesam_photos_clicks_drawn"][rows] if name == "edgesam" else None
            count = min(3, CLICKS[name])
            assert_same(follow(name, image, count, draws=draws, monkeypatch=monkeypatch), photos, rows, name, "photos")


def test_photos_get_edgesams_clicks_and_ious_after_a_box(shared, photos, monkeypatch):
    for image, row_of in photo_images(shared):
        kept = without_crowds(image[1], preset("edgesam"))
        if kept:
            rows = [row_of[one.id] for one in kept]
            asked = follow(
                "edgesam", image, 3, draws=photos["edgesam_photos_box_drawn"][rows], boxes=True, monkeypatch=monkeypatch
            )
            assert_same(asked, photos, rows, "edgesam", "photos", "box")


@pytest.mark.parametrize(
    ("name", "data_set", "prompts"),
    [
        ("efficientvit", "coco", {"box": "box", "1click": "click1", "3click": "click3"}),
        ("efficientvit", "lvis", {"box": "box", "1click": "click1", "3click": "click3"}),
        ("edgesam", "coco", {"box": "box", "1click": "click1"}),
        ("edgesam", "lvis", {"box": "box", "1click": "click1"}),
        ("segment-anything-fast", "coco", {"1click": "click1"}),
    ],
)
def test_the_table_s_means_are_those_of_the_published_ious(shared, photos, name, data_set, prompts):
    axes, records, rows = preset(name), [], []
    for (info, annotations), row_of in photo_images(shared, data_set):
        image = np.zeros((info.height, info.width, 3), np.uint8)
        records += ask_image(ModelPredictor(STUBS[name](), axes), image, info, annotations, axes)
        rows += [row_of[one.id] for one in annotations]
    frame = pd.DataFrame(records)
    scores = table4.score(
        CellRun(frame, "f", 0, tuple(frame["image_id"].unique()), {}), instance_data(axes, name=data_set)
    )
    kind = "photos" if data_set == "coco" else data_set
    scale = 1 if name == "efficientvit" else 100
    for prompt, published in prompts.items():
        golden = photos[f"{name.replace('-', '_')}_{kind}_{published}_iou"][rows]
        assert 100 * scores.intervals[f"{data_set}_{prompt}"].value == pytest.approx(
            scale * np.nanmean(golden), abs=1e-4
        )
        assert scores.intervals[f"{data_set}_{prompt}"].n == np.count_nonzero(~np.isnan(golden))


@pytest.mark.parametrize(("pick", "published"), [("predicted_iou", "score"), ("oracle", "oracle")])
def test_edgesams_three_outputs_are_picked_by_score_or_by_its_own_raster_of_the_truth(shared, photos, pick, published):
    axes = replace(preset("edgesam"), mask_pick=pick, columns=("coco_1click",))
    for (info, annotations), row_of in photo_images(shared, most=5):
        image = np.zeros((info.height, info.width, 3), np.uint8)
        records = ask_image(ModelPredictor(PaddedStub(), axes), image, info, annotations, axes)
        found = {record["annotation_id"]: record["iou"] for record in records if not record["iscrowd"]}
        golden = photos[f"edgesam_photos_click1_three_{published}_iou"][[row_of[one] for one in found]]
        np.testing.assert_allclose(list(found.values()), golden, atol=TOLERANCE)


STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@pytest.mark.parametrize("name", ["efficientvit", "tinysam"])
@pytest.mark.parametrize(("data_set", "ap"), [("coco", coco_ap), ("lvis", lvis_ap)])
def test_ap_from_detected_boxes_is_the_published_one(shared, name, data_set, ap):
    published = json.loads((shared / "golden" / "evaluators.json").read_text())["numbers"]
    expected = published[f"{name}_{'photos' if data_set == 'coco' else data_set}_detector"]
    if data_set == "coco":
        expected = dict(zip(STATS, expected, strict=False))
    unit = 100 if expected["AP"] > 1 else 1
    instances = open_instances(data_set, shared / "samples")
    detections = open_detections(shared / "samples" / "coco" / "detections" / "coco_vitdet.json")
    axes, records = preset(name), []
    for info in instances.images:
        most = table5.most_detections(data_set, axes)
        image = np.zeros((info.height, info.width, 3), np.uint8)
        stub = ModelPredictor(Stub(), axes)
        records += instance.ask_image(stub, image, info, [], axes, detections=detections, most=most)
    found = ap(instances.annotation_path, table5.to_results(pd.DataFrame(records), axes)).stats
    assert {key: found[key] for key in STATS} == pytest.approx({k: expected[k] / unit for k in STATS}, abs=1e-9)


def test_a_preset_has_the_columns_that_its_evaluator_has():
    columns = {name: axes.columns for name, axes in PRESETS.items()}
    assert columns["segment-anything-fast"] == ("coco_1click",)
    assert columns["edgesam"] == ("coco_box", "coco_1click", "coco_3click", "lvis_box", "lvis_1click")
    assert columns["efficientvit"] is columns["paper"] is None
    assert set(columns["tinysam"]) == {column.key for column in table5.COLUMNS}
