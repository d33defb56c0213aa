"""The ladder at micro scale: rungs meet what the published operations gave, until a fault is planted.

References are measured here, before any fault, by the reference engine, pycocotools and a plain mean.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from models import zoo
from models.efficientsam.segmenter import EfficientSamSegmenter
from models.sam.segmenter import SamSegmenter
from models.segmenter import Prompts
from protocols import shards, table4, table5_prompts
from protocols.prompts import sequences
from protocols.published import axes_of, ladder
from protocols.published.calibration import diagnosis, rungs, suspects
from protocols.published.ladder import climb, measured_reference
from protocols.results import Cell, Column, Row, TableResult
from tests.protocols.fakes import settings

IMAGES = 3
RUNGS = rungs("micro")


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Return the number that each rung is to meet."""
    store = tmp_path_factory.mktemp("references")
    asked = settings(store, limit=IMAGES)
    return {rung.name: measured_reference(rung, asked) for rung in RUNGS if rung.table}


@pytest.fixture
def up(tmp_path, references):
    """Climb the whole ladder; return its readings."""

    def climbed(**more):
        asked = settings(tmp_path / "runs", limit=IMAGES, **more)
        return list(climb(RUNGS, asked, reference_of=lambda rung, _: references[rung.name], go_on=True))

    return climbed


def one_token_in_place_of_another(patch):
    official = SamSegmenter.segment

    def segment(self, embedding, prompts, *, multimask=True):
        answer = official(self, embedding, prompts, multimask=multimask or True)
        return answer if multimask else type(answer)(answer.logits[:, :1], answer.predicted_iou[:, :1])

    patch.setattr(SamSegmenter, "segment", segment)


def single_in_place_of_three(patch):
    for kind in (SamSegmenter, EfficientSamSegmenter):

        def segment(self, embedding, prompts, *, multimask=True, official=kind.segment):
            return official(self, embedding, prompts, multimask=False)

        patch.setattr(kind, "segment", segment)


def one_detection_an_image(patch):
    patch.setattr(table5_prompts, "most_detections", lambda name, axes: 1)


def clicks_beside(patch):
    patch.setitem(sequences.FIRST, "centre_of_mass", lambda mask: sequences.mass_click(mask) + np.float32([8, 0]))


def later_clicks_beside(patch):
    official = sequences.ritm_click

    def moved(*arguments, **more):
        point, label = official(*arguments, **more)
        return point + np.float32([8, 0]), label

    patch.setattr(sequences, "ritm_click", moved)


def small_objects_left_out(patch):
    official = table4.counted
    patch.setattr(table4, "counted", lambda records, axes: official(records, axes)[lambda kept: kept["area"] > 400])


def xywh_for_xyxy(patch):
    official = Prompts.from_boxes
    patch.setattr(table5_prompts.Prompts, "from_boxes", lambda b: official(np.hstack([b[:, :2], b[:, :2] + b[:, 2:]])))


def bgr(patch):
    official = shards.read_rgb
    patch.setattr(shards, "read_rgb", lambda *arguments, **more: official(*arguments, **more)[..., ::-1].copy())


def backwards(kind):
    def plant(patch):
        official = kind.preprocess
        patch.setattr(kind, "preprocess", lambda self, image: official(self, image).flip(1))

    return plant


def higher_threshold(patch):
    official = SamSegmenter.masks
    patch.setattr(SamSegmenter, "masks", lambda self, logits, size: official(self, logits - 2, size))


CHOSEN = ("multimask-micro", "click-micro", "clicks-micro", "ti-micro")
OF_SAM = ("single-micro", "multimask-micro", "click-micro", "clicks-micro")
FAULTS: dict[Callable, tuple[tuple[str, ...], set[str]]] = {
    one_detection_an_image: (
        ("masks-micro", "single-micro", "multimask-micro", "ti-micro"), {"ap", "detector"}),
    one_token_in_place_of_another: (("single-micro",), {"one-mask"}),
    single_in_place_of_three: (CHOSEN, {"three-masks"}),
    clicks_beside: (("click-micro",), {"click"}),
    later_clicks_beside: (("clicks-micro",), {"error-clicks"}),
    small_objects_left_out: (("click-micro", "clicks-micro"), {"miou"}),
    xywh_for_xyxy: (("single-micro", "multimask-micro", "ti-micro"), {"box"}),
    bgr: ((*OF_SAM, "ti-micro"), {"photos"}),
    backwards(EfficientSamSegmenter): (("ti-micro",), {"input-squashed", "upscaling-squashed"}),
    backwards(SamSegmenter): (OF_SAM, {"input-padded", "upscaling-padded"}),
    higher_threshold: (OF_SAM, {"input-padded", "upscaling-padded"}),
}  # fmt: skip
"""Fault -> the rungs that it breaks, and the choices that explain all of them and that no held rung shares."""


def first(readings) -> set[str]:
    """Return the likeliest choices: of those that no held rung clears, those that explain most broken rungs."""
    free = [one for one in suspects(readings) if not one.cleared_by]
    return {one.decision for one in free if len(one.explains) == len(free[0].explains)}


def broken(readings) -> tuple[str, ...]:
    return tuple(one.rung.name for one in readings if one.status == "broken")


def test_without_a_fault_every_rung_holds(up):
    readings = up()
    assert [one.status for one in readings] == ["holds"] * len(RUNGS), [
        (r.rung.name, r.measured, r.why) for r in readings
    ]
    assert diagnosis(readings) == []


def test_each_rung_is_the_first_that_some_fault_breaks():
    assert {names[0] for names, _ in FAULTS.values()} == {rung.name for rung in RUNGS if rung.table}


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__qualname__)
def test_a_planted_fault_breaks_the_rungs_that_depend_on_it_and_is_named(up, plant, monkeypatch):
    plant(monkeypatch)
    readings = up()
    names, choices = FAULTS[plant]
    assert broken(readings) == names
    assert first(readings) == choices
    assert all(one.status == "holds" for one in readings if one.rung.name not in names)
    assert sum(line.startswith(names) for line in diagnosis(readings)) == len(names)


@pytest.mark.parametrize(
    ("model", "name"), [("sam-micro", "weights-sam-micro"), ("efficientsam-ti-micro", "weights-ti-micro")]
)
def test_wrong_weights_break_their_hash_and_are_named(up, tmp_path, model, name):
    state = load_file(str(zoo.card(model).filename))
    wrong = tmp_path / "resaved.safetensors"
    save_file({key: 1.5 * value if value.is_floating_point() else value for key, value in state.items()}, str(wrong))
    readings = up(checkpoints={model: wrong})
    assert broken(readings)[0] == name
    assert set(broken(readings)) == {one.rung.name for one in readings if one.rung.model == model}
    assert first(readings) == {f"weights {model}"}
    assert "is not the published checkpoint" in readings[[r.rung.name for r in readings].index(name)].why


def test_the_ladder_stops_at_the_first_broken_rung_unless_asked_to_go_on(tmp_path, references, monkeypatch):
    one_detection_an_image(monkeypatch)
    asked = settings(tmp_path, limit=IMAGES)
    readings = list(climb(RUNGS, asked, reference_of=lambda rung, _: references[rung.name]))
    assert [one.status for one in readings] == ["holds", "holds", "broken", *["not tried"] * (len(RUNGS) - 3)]
    assert readings[-1].measured is None


def test_rungs_without_weights_or_photos_say_what_they_need(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "none"))
    asked = settings(tmp_path / "runs", data_root=Path(tmp_path))

    def no_reference(rung, settings):
        raise AssertionError("nothing is set against a number that was not measured")

    for reading in climb(rungs("paper"), asked, reference_of=no_reference):
        assert (reading.status, reading.measured) == ("not runnable", None)
        assert "bench weights fetch" in reading.why or "bench data fetch" in reading.why, reading.why


@pytest.mark.parametrize(("comparable", "status"), [(True, "holds"), (False, "not runnable")])
def test_a_published_number_is_set_against_the_whole_published_data_alone(tmp_path, monkeypatch, comparable, status):
    one = next(rung for rung in rungs("paper") if rung.name == "sam-b-click")
    result = TableResult(
        "table4", "", "paper", "50 photos", comparable, "", (Column("coco_1click", "", ""),),
        (Row("SAM-B", "sam-vit-b"),), (Cell("SAM-B", "coco_1click", "measured", None, 0.5336),),
    )  # fmt: skip
    monkeypatch.setattr(ladder, "make_tables", lambda tables, settings: [result])
    (reading,) = climb([one], settings(tmp_path, data_root=tmp_path), reference_of=ladder.reference)
    assert reading.status == status
    assert comparable or "50 photos" in reading.why


def test_a_rung_asks_one_model_one_column_by_the_protocol_of_its_number(tmp_path):
    one = next(rung for rung in rungs("paper") if rung.name == "sam-b-single")
    asked = ladder.settings_of(one, settings(tmp_path, checkpoints={"sam-vit-h": tmp_path}))
    tinysam = axes_of("tinysam")
    assert asked.axes == replace(tinysam, mask_pick="single", columns=("coco_ap",))
    assert (asked.models, asked.scale, asked.checkpoints) == (("sam-vit-b",), "paper", {})


def test_readings_are_plain_data(tmp_path):
    readings = list(climb(RUNGS[:2], settings(tmp_path), reference_of=ladder.reference))
    assert json.loads(json.dumps([asdict(one) for one in readings]))[0]["status"] == "holds"
