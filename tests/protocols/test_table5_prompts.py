import contextlib
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from bench.data import Detections, open_detections, open_instances, read_rgb
from models.errors import MissingData
from protocols import table5
from protocols.axes import PAPER, Axes, most_detections
from protocols.masks_file import detector_records
from protocols.predictors import Ceiling, ModelPredictor
from protocols.prompts.jittered_boxes import jittered_detections
from protocols.scores import CellRun
from protocols.table5_prompts import ask_image
from tests.protocols.fakes import DiscModel, disc, instance_data, write_coco

MASKS = [[disc(8, 9, 5), disc(25, 20, 8)], [disc(20, 16, 6), disc(5, 5, 4)], [disc(30, 10, 7)]]


@pytest.fixture
def root(tmp_path):
    write_coco(tmp_path, MASKS)
    return tmp_path


def ask(instances, predictor, detections, most=100, axes=PAPER):
    return [
        record
        for info in instances.images
        for record in ask_image(
            predictor,
            read_rgb(info.path),
            info,
            instances.annotations(info.id),
            axes,
            detections=detections,
            most=most,
        )
    ]


def own_masks(instances, detections, most=100):
    return [record for info in instances.images for record in detector_records(info, detections, most)]


def true_boxes(instances):
    rows = [(info.id, a) for info in instances.images for a in instances.annotations(info.id)]
    return Detections.from_arrays(
        image_id=np.array([image for image, _ in rows]),
        category_id=np.array([a.category_id for _, a in rows]),
        boxes_xyxy=np.array([a.box_xyxy for _, a in rows]),
        scores=np.linspace(0.9, 0.5, len(rows)),
        name="truth",
        sha256="0" * 64,
    )


def true_masks(instances, folder):
    """Return the truth as a detector's file, boxes and masks."""
    entries = []
    for info in instances.images:
        for one in instances.annotations(info.id):
            runs = rle.encode(np.asfortranarray(one.mask(info.height, info.width).astype(np.uint8)))
            mask = {"size": runs["size"], "counts": runs["counts"].decode()}
            box = rle.toBbox(runs).tolist()
            found = {"image_id": info.id, "category_id": one.category_id, "bbox": box, "segmentation": mask}
            entries.append({**found, "score": 0.9 - 0.01 * len(entries)})
    path = folder / "truth.json"
    path.write_text(json.dumps(entries))
    return open_detections(path)


def cell_run(records, instances):
    return CellRun(pd.DataFrame(records), "f", 0, tuple(info.id for info in instances.images), {})


@pytest.mark.parametrize("name", ["coco", "lvis"])
def test_ground_truth_masks_from_ground_truth_boxes_give_ap_1(root, name):
    instances = open_instances(name, root)
    scores = table5.score(
        cell_run(ask(instances, Ceiling(), true_boxes(instances)), instances), instance_data(PAPER, instances, name)
    )
    assert scores.intervals[f"{name}_ap"].value == pytest.approx(1.0)


def test_records_hold_the_masks_the_model_gave(root):
    instances = open_instances("coco", root)
    record = ask(instances, ModelPredictor(DiscModel(), PAPER), true_boxes(instances))[0]
    mask = rle.decode({"size": [record["height"], record["width"]], "counts": record["counts"].encode()})
    np.testing.assert_array_equal(mask.astype(bool), disc(8.5, 9.5, 6))


def test_only_the_best_detections_of_an_image_are_asked(root):
    instances = open_instances("coco", root)
    detections = true_boxes(instances)
    records = ask(instances, Ceiling(), detections, most=1)
    best = [detections.for_image(info.id).scores.max() for info in instances.images]
    assert [record["detector_score"] for record in records] == best


def test_the_detector_s_own_masks_are_its_row(root, tmp_path):
    instances = open_instances("coco", root)
    detections = true_masks(instances, tmp_path)
    records = own_masks(instances, detections)
    scores = table5.score(cell_run(records, instances), instance_data(PAPER, instances))
    assert scores.intervals["coco_ap"].value == pytest.approx(1.0)
    best = own_masks(instances, detections, most=1)
    assert len(best) == len(instances.images)


def test_boxes_without_masks_have_no_row_of_the_detector(root):
    instances = open_instances("coco", root)
    with pytest.raises(MissingData, match="truth: the boxes come without masks"):
        own_masks(instances, true_boxes(instances))


def test_results_carry_no_box_so_that_areas_are_the_masks(root):
    instances = open_instances("coco", root)
    records = pd.DataFrame(ask(instances, Ceiling(), true_boxes(instances)))
    results = table5.to_results(records, PAPER)
    assert all(set(r) == {"image_id", "category_id", "segmentation", "score"} for r in results)
    product = table5.to_results(records.assign(predicted_iou=0.5), Axes(score="detector_x_predicted_iou"))
    assert [r["score"] for r in product] == pytest.approx([0.5 * r["score"] for r in results])


def test_the_ceiling_takes_the_object_whose_box_overlaps_most(root):
    instances = open_instances("coco", root)
    boxes = true_boxes(instances)
    for record in ask(instances, Ceiling(), boxes):
        mask = rle.decode({"size": [record["height"], record["width"]], "counts": record["counts"].encode()})
        nearest = instances.annotations(record["image_id"])
        same = [a for a in nearest if a.category_id == record["category_id"]]
        best = max((mask & a.mask(32, 40)).sum() / (mask | a.mask(32, 40)).sum() for a in same)
        assert best > 0.97


def test_jittered_boxes_are_the_same_for_an_image_whatever_the_others_are(root):
    instances = open_instances("coco", root)
    everything = jittered_detections(instances, list(instances.images))
    alone = jittered_detections(instances, [instances.images[1]])
    np.testing.assert_array_equal(everything.for_image(2).boxes_xyxy, alone.for_image(2).boxes_xyxy)
    assert everything.name == "jittered ground truth"
    assert everything.sha256 != alone.sha256


def test_jittered_boxes_lie_in_the_image_and_have_an_area(root):
    instances = open_instances("coco", root)
    for seed in range(20):
        detections = jittered_detections(instances, list(instances.images), seed=seed)
        for info in instances.images:
            boxes = detections.for_image(info.id).boxes_xyxy
            assert (boxes >= 0).all()
            assert (boxes[:, [0, 2]] <= info.width).all()
            assert (boxes[:, [1, 3]] <= info.height).all()
            assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_a_crowded_file_gives_pycocotools_ap_at_its_cap_of_100_an_image_and_category(tmp_path):
    """240 objects of two categories in one image: 120 of each, of which pycocotools counts 100."""
    side = 256
    masks = []
    for k in range(240):
        mask = np.zeros((side, side), bool)
        mask[16 * (k // 16) : 16 * (k // 16) + 9, 16 * (k % 16) : 16 * (k % 16) + 9] = True
        masks.append(mask)
    write_coco(tmp_path, [masks])
    instances = open_instances("coco", tmp_path)
    detections = true_boxes(instances)
    most = most_detections("coco", PAPER)
    records = pd.DataFrame(ask(instances, Ceiling(), detections, most))
    assert len(records) == 240
    ours = table5.score(CellRun(records, "f", 0, (1,), {}), instance_data(PAPER, instances))
    results = table5.to_results(records, PAPER)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(instances.annotation_path))
        official = COCOeval(truth, truth.loadRes(results), "segm")
        official.evaluate()
        official.accumulate()
        official.summarize()
    assert ours.intervals["coco_ap"].value == official.stats[0]
    assert 0.8 < official.stats[0] < 1, "the cap is reached"
    capped = most_detections("coco", replace(PAPER, detection_cap="image"))
    few = pd.DataFrame(ask(instances, Ceiling(), detections, capped))
    assert len(few) == 100
    assert (
        table5.score(CellRun(few, "f", 0, (1,), {}), instance_data(PAPER, instances)).intervals["coco_ap"].value
        < official.stats[0]
    )


def test_the_truth_is_decoded_for_those_alone_who_look_at_it(root, monkeypatch):
    instances = open_instances("coco", root)

    def never(*_):
        raise AssertionError

    monkeypatch.setattr("protocols.table5_prompts._nearest_truths", never)
    assert ask(instances, ModelPredictor(DiscModel(), PAPER), true_boxes(instances))
    with pytest.raises(AssertionError):
        ask(instances, Ceiling(), true_boxes(instances))


def test_detections_that_are_not_asked_are_counted(root):
    instances = open_instances("coco", root)
    found = true_boxes(instances)
    assert found.counts([3, 1, 7]).tolist() == [1, 2, 0]
