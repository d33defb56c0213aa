"""What a gallery shows is what the records say: every instance that counts, with its truth, prompt and mask."""

import json

import numpy as np
import pytest

from bench.data import open_detections, open_instances
from bench.data.catalog import BOX_SETS
from bench.metrics.iou import mask_iou
from bench.store.stored import find_run
from models.annotations import decode
from models.errors import BenchError
from protocols import promptable, table4, table5
from protocols.inspect.compare import WITHOUT_ESTIMATE, compare
from protocols.inspect.gallery import FEW, asked_again, gather, shown_photos
from protocols.inspect.gallery_detections import NOBODY, detector_boxes
from protocols.inspect.sides import find_side, open_side
from tests.bench.cli.test_compare import write_boxes
from tests.protocols.fakes import settings
from tests.protocols.inspect.test_compare import LARGE, SIZE, SMALL, made, root

__all__ = ["made", "root"]


@pytest.fixture
def source(root):
    return open_instances("coco", root)


@pytest.fixture
def side(source, root):
    def open_one(name, table="table4"):
        return open_side(find_side(name, table, "coco", settings(root.parent / "runs").store), source)

    return open_one


def shown(gallery, source, **more):
    """Return (photo, instance) of all that is shown, in order, and what was said."""
    said = []
    photos = shown_photos(gallery, source, lambda info: f"{info.id}.webp", say=said.append, **more)
    return [(photo, one) for photo in photos for one in photo.instances], said


def test_prompts_of_table4_are_those_that_count_with_their_numbers(made, side, source):
    fingerprint, scores = made(SMALL)
    found, _ = shown(gather([side("small")], source), source)
    expected = {(r["annotation_id"], r["prompt"], r["repeat"]): r for r in scores.basis.to_dict("records")}
    assert len(found) == len(expected) == 14 * 3  # the crowd does not count
    for photo, one in found:
        record = expected[one.object_id, one.prompt, one.repeat]
        assert (photo.id, one.category_id, one.area) == tuple(record[k] for k in ("image_id", "category_id", "area"))
        ((iou, predicted, counts),) = one.answers
        assert (iou, predicted, counts) == (record["iou"], record["predicted_iou"], "")
    assert np.mean([one.answers[0].iou for _, one in found if one.prompt == "box"]) == pytest.approx(
        scores.intervals["coco_box"].value
    )
    assert fingerprint[:8] in side("small").name


def test_truths_and_prompts_are_those_of_the_objects(made, side, source):
    made(SMALL)
    for photo, one in shown(gather([side("small")], source), source)[0]:
        truth = next(a for a in source.annotations(photo.id) if a.id == one.object_id).mask(*SIZE)
        assert (decode({"size": list(SIZE), "counts": one.truth}) == truth).all()
        labels = [label for _, _, label in one.points]
        assert labels == {"box": [2, 3], "1click": [1], "3click": [1] * 3}[one.prompt]
        if one.prompt == "box":
            (left, top, _), (right, bottom, _) = one.points
            assert truth[int(top) : int(bottom), int(left) : int(right)].sum() == truth.sum()
        else:
            assert all(truth[int(y), int(x)] for x, y, _ in one.points)


def test_later_clicks_that_answers_place_are_not_made_up(made, side, source):
    made(SMALL, clicks="ritm")
    points = {one.prompt: one.points for _, one in shown(gather([side("small")], source), source)[0]}
    assert {prompt: len(found) for prompt, found in points.items()} == {"box": 2, "1click": 1, "3click": 0}


def test_models_asked_again_show_the_masks_of_their_records(made, side, source, monkeypatch):
    made(SMALL, clicks="ritm"), made(LARGE, clicks="ritm")
    monkeypatch.setattr(promptable, "load", lambda name, device: {"small": SMALL, "large": LARGE}[name])
    gallery = gather([side("small"), side("large")], source)
    again = asked_again(gallery, 5)
    found, said = shown(gallery, source, again=again)
    assert said == []
    with_masks = [one for _, one in found if one.answers[0].counts]
    assert len(with_masks) == len(again) == 5
    differences = sorted((abs(one.answers[0].iou - one.answers[1].iou) for _, one in found), reverse=True)
    chosen = sorted((abs(one.answers[0].iou - one.answers[1].iou) for one in with_masks), reverse=True)
    assert chosen == pytest.approx(differences[:5])
    for one in with_masks:
        truth = decode({"size": list(SIZE), "counts": one.truth})
        for answer in one.answers:
            assert mask_iou(decode({"size": list(SIZE), "counts": answer.counts}), truth) == pytest.approx(answer.iou)
        assert len(one.points) == {"box": 2, "1click": 1, "3click": 3}[one.prompt]


def test_few_instances_are_all_asked_again_many_only_on_demand(made, side, source, monkeypatch):
    made(SMALL)
    gallery = gather([side("small")], source)
    assert len(asked_again(gallery, None)) == len(gallery.instances) <= FEW
    assert asked_again(gallery, 0) == frozenset()
    monkeypatch.setattr("protocols.inspect.gallery.FEW", 10)
    assert asked_again(gallery, None) == frozenset()
    lowest = gallery.instances.loc[sorted(asked_again(gallery, 3)), "first"]
    assert sorted(lowest) == sorted(gallery.instances["first"])[:3]


def test_detections_of_one_run_are_its_records_with_the_object_each_overlaps_most(made, side, source):
    made(SMALL, table5)
    one = side("small", "table5")
    found, _ = shown(gather([one], source), source)
    records = one.records.to_dict("records")
    expected = sorted((record["image_id"], record["counts"], record["predicted_iou"]) for record in records)
    assert sorted((p.id, i.answers[0].counts, i.answers[0].predicted_iou) for p, i in found) == expected
    for photo, instance in found:
        near = [a for a in source.annotations(photo.id) if a.category_id == instance.category_id and not a.iscrowd]
        mask = decode({"size": list(SIZE), "counts": instance.answers[0].counts})
        ious = {a.id: float(mask_iou(mask, a.mask(*SIZE))) for a in near}
        if instance.object_id in ious:
            assert instance.answers[0].iou == pytest.approx(max(ious.values()))
            assert ious[instance.object_id] == pytest.approx(max(ious.values()))
        else:  # a false alarm, or within a crowd
            assert instance.object_id in (None, 15)
            assert instance.object_id == 15 or max(ious.values(), default=0.0) == 0.0


def test_a_detection_that_touches_nothing_is_a_false_alarm(made, side, source):
    made(SMALL, table5)
    one = side("small", "table5")
    one.records["category_id"] = 99
    gallery = gather([one], source)
    assert set(gallery.instances["annotation_id"]) == {NOBODY}
    assert {(i.object_id, i.answers[0].iou, i.truth) for _, i in shown(gallery, source)[0]} == {(None, 0.0, "")}


def test_boxes_of_detections_are_shown_where_they_are_known(made, side, source, tmp_path):
    made(SMALL, table5)
    one = side("small", "table5")
    boxes = [
        {"image_id": info.id, "category_id": 1, "score": 0.5, "bbox": [3.0 + k, 4.0, 10.0, 12.0]}
        for info in source.images
        for k in range(9)
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    boxes = open_detections(tmp_path / "boxes.json")
    one.records["detection_id"] = [boxes.for_image(image_id).detection_id[1] for image_id in one.records["image_id"]]
    one.records.drop_duplicates("image_id", inplace=True)
    points = {i.points for _, i in shown(gather([one], source, boxes=boxes), source)[0]}
    assert points == {((4.0, 4.0, 2), (14.0, 16.0, 3))}
    assert {i.points for _, i in shown(gather([one], source), source)[0]} == {()}


def test_boxes_are_found_again_where_they_are_those_of_the_run(made, side, source, root):
    write_boxes(root)
    made(SMALL, table5)
    one = side("small", "table5")
    boxes = detector_boxes(one, [None, root])
    truths = {a.box_xyxy for info in source.images for a in source.annotations(info.id)}
    points = {i.points for _, i in shown(gather([one], source, boxes=boxes), source)[0]}
    assert {(*first[:2], *second[:2]) for first, second in points} <= truths
    (root / BOX_SETS["coco-boxes"].file).write_text("[]")
    assert detector_boxes(one, [None, root]) is None


def test_two_runs_show_what_compare_pairs(made, side, source):
    for table in (table4, table5):
        made(SMALL, table), made(LARGE, table)
        sides = [side(name, table.NAME) for name in ("small", "large")]
        gallery, paired = gather(sides, source), compare(*sides, source)
        found = [tuple(answer.iou for answer in one.answers) for _, one in shown(gallery, source)[0]]
        assert sorted(found) == sorted(zip(paired.instances["first"], paired.instances["second"], strict=True))
        assert gallery.headline == paired.headline


def test_a_limit_shows_the_first_images_and_says_so(made, side, source):
    made(SMALL)
    gallery = gather([side("small")], source, limit=2)
    assert set(gallery.instances["image_id"]) == {info.id for info in source.images[:2]}
    assert "first 2 images" in gallery.notes[0]


def test_what_has_no_estimate_of_its_iou_shows_none(made, side, source):
    assert {"", *promptable.WEIGHTLESS} == WITHOUT_ESTIMATE
    made(promptable.load("floor"))
    assert {one.answers[0].predicted_iou for _, one in shown(gather([side("floor")], source), source)[0]} == {None}


def test_an_unfinished_run_is_refused(made, side, source, root):
    fingerprint, _ = made(SMALL)
    run = find_run(fingerprint, settings(root.parent / "runs").store)
    run.paths[0].unlink()
    with pytest.raises(BenchError, match="lacks 1 of 3 shards: the same `bench run` again computes them"):
        gather([side(fingerprint)], source)
