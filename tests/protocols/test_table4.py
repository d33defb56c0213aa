from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from protocols import table4
from protocols.axes import Axes
from protocols.saved_predictions import write_recording
from protocols.scores import CellRun
from tests.protocols.fakes import instance_data, measured, settings

PAPER = Axes()


def run(records):
    frame = pd.DataFrame(records)
    return CellRun(frame, "f", 0, tuple(frame["image_id"].unique()), {})


def random_records(seed, images=12):
    rng = np.random.default_rng(seed)
    return [
        {
            "image_id": image,
            "annotation_id": image * 10 + k,
            "category_id": int(rng.integers(1, 4)),
            "area": float(rng.integers(1, 900)),
            "iscrowd": k == 3,
            "prompt": prompt,
            "repeat": 0,
            "pick": 0,
            "predicted_iou": 0.5,
            "iou": float(rng.random()),
            "refused": "",
        }
        for image in range(images)
        for k in range(4)
        for prompt in ("box", "1click", "3click")
    ]


def test_miou_is_the_mean_over_annotations_without_crowds():
    records = random_records(0)
    scores = table4.score(run(records), instance_data(PAPER))
    expected = np.mean([r["iou"] for r in records if r["prompt"] == "box" and not r["iscrowd"]])
    assert scores.intervals["coco_box"].value == pytest.approx(expected, abs=1e-12)
    assert scores.intervals["coco_box"].low < expected < scores.intervals["coco_box"].high
    assert scores.intervals["coco_box"].n == 12 * 3


def test_crowds_count_where_the_axes_keep_them():
    records = random_records(1)
    kept = table4.score(run(records), instance_data(Axes(crowd="keep"))).intervals["coco_1click"]
    assert kept.value == pytest.approx(np.mean([r["iou"] for r in records if r["prompt"] == "1click"]), abs=1e-12)


def test_small_annotations_are_left_out_where_the_axes_say_so():
    records = random_records(2)
    value = table4.score(run(records), instance_data(Axes(smallest_area=400))).intervals["coco_box"].value
    big = [r["iou"] for r in records if r["prompt"] == "box" and not r["iscrowd"] and r["area"] >= 400]
    assert value == pytest.approx(np.mean(big), abs=1e-12)


def test_category_averaging_is_the_mean_of_the_categories_means():
    records = random_records(3)
    value = table4.score(run(records), instance_data(Axes(averaging="category"))).intervals["coco_3click"].value
    frame = pd.DataFrame(records).query("prompt == '3click' and not iscrowd")
    assert value == pytest.approx(frame.groupby("category_id")["iou"].mean().mean(), abs=1e-12)


def test_a_paired_difference_is_the_difference_of_the_means_and_narrower_than_either():
    records = random_records(4, images=40)
    better = [{**r, "iou": min(1.0, r["iou"] + 0.05)} for r in records]
    first, second = table4.score(run(better), instance_data(PAPER)), table4.score(run(records), instance_data(PAPER))
    difference = table4.compare(first, second)["coco_box"]
    assert difference.value == pytest.approx(first.intervals["coco_box"].value - second.intervals["coco_box"].value)
    own = first.intervals["coco_box"]
    assert difference.high - difference.low < (own.high - own.low) / 4


def test_pairing_goes_by_annotation_not_by_row_order():
    records = random_records(5)
    first = table4.score(run(records), instance_data(PAPER))
    second = table4.score(run(records[::-1]), instance_data(PAPER))
    assert table4.compare(first, second)["coco_box"] == pytest.approx((0, 0, 0, 36))


def test_footnotes_count_annotations_and_crowds():
    line, *_ = table4.footnotes(measured(instance_data(), {"SAM": run(random_records(6))}))
    assert line == "COCO: 36 annotations in 12 images, and 12 crowds (left out of mIoU)"


def test_one_refused_object_leaves_its_kind_of_prompt_without_a_mean():
    records = random_records(3)
    next(r for r in records if r["prompt"] == "3click").update(refused="no background points", iou=float("nan"))
    scores = table4.score(run(records), instance_data(PAPER))
    assert scores.refused == {"coco_3click": "no background points"}
    assert set(scores.intervals) == {"coco_box", "coco_1click"}
    whole = table4.score(run(random_records(3)), instance_data(PAPER))
    assert set(table4.compare(scores, whole)) == {"coco_box", "coco_1click"}


def scores_of_seeds(offset, first_seed, images=30):
    """Three trainings whose IoU differs by `offset` from that of others, and by a little noise."""
    trainings = []
    for seed in range(3):
        noise = np.random.default_rng(first_seed + seed)
        records = random_records(9, images=images)
        for record in records:
            record["iou"] = 0.5 * record["iou"] + offset + noise.normal(0, 0.005)
        trainings.append(table4.score(run(records), instance_data(PAPER)))
    return trainings


def test_over_trainings_the_difference_is_that_of_the_means_over_seeds():
    better, worse = scores_of_seeds(0.1, 0), scores_of_seeds(0.0, 3)
    found = table4.over_trainings(better, worse, "coco_box")
    means = [[one.intervals["coco_box"].value for one in seeds] for seeds in (better, worse)]
    assert found.value == pytest.approx(np.mean(means[0]) - np.mean(means[1]), abs=1e-12)
    assert found.low < 0.1 < found.high
    assert (found.seeds, found.images) == (3, 30)
    assert found.p < 0.001


def test_over_trainings_equal_arms_are_not_decided_apart():
    found = table4.over_trainings(scores_of_seeds(0.0, 0), scores_of_seeds(0.0, 3), "coco_3click")
    assert found.low < 0 < found.high


def test_answers_recorded_as_the_paper_asks_say_nothing_of_other_axes(tmp_path):
    facts = {"model": "m", "data": "", "image_ids": [0, 1], "date": "2020-01-02", "made_with": {}}
    records = pd.DataFrame(random_records(0, images=2)).assign(skipped="")
    whole = {"table": "table4", "version": table4.VERSION, "row": "SAM-MAE-Ti", "seed": 0, "facts": facts}
    path = write_recording(tmp_path, records, **whole, data_set="coco")
    assert path.name == "table4-coco-sam-mae-ti-seed0.json"
    asked = settings(tmp_path / "runs", records=tmp_path)
    about = [replace(instance_data(axes), asked=SimpleNamespace(ids=[0, 1])) for axes in (PAPER, Axes(clicks="ritm"))]
    assert [list(table4.saved(data, asked)) for data in about] == [["SAM-MAE-Ti"], []]
