import json

import numpy as np
import pandas as pd
import pytest

from models.errors import BenchError
from protocols.training_records import read_curves, read_records
from tests.protocols.training_fakes import answers, write_fake_curve, write_record


def test_answers_come_back_as_they_were_written(tmp_path):
    correct = answers(0.6, 1)
    write_record(tmp_path, "sami-ti", 2, correct)
    record = read_records(("sami-ti",), "micro", tmp_path)["sami-ti"][2]
    assert np.array_equal(record.correct, correct)
    assert record.variant["mask_ratio"] == 0.75


def test_a_run_is_not_taken_for_one_whose_name_goes_on(tmp_path):
    write_record(tmp_path, "sami-ti-cosine", 0, answers(0.6, 1))
    assert read_records(("sami-ti",), "micro", tmp_path) == {}


def test_records_of_the_other_scale_are_left_out(tmp_path):
    write_record(tmp_path, "sami-ti", 0, answers(0.6, 1), scale="paper")
    assert read_records(("sami-ti",), "micro", tmp_path) == {}
    assert list(read_records(("sami-ti",), "paper", tmp_path)) == ["sami-ti"]


@pytest.mark.parametrize(
    "change",
    [{"top1": 0.9}, {"n": 640}, {"run": "mae-ti"}, {"seed": 1}, {"correct": "zz"}, {"variant": None, "n": None}],
)
def test_a_record_that_contradicts_itself_is_refused_by_name(tmp_path, change):
    write_record(tmp_path, "sami-ti", 0, answers(0.6, 1), **change)
    with pytest.raises(BenchError, match=r"sami-ti-seed0\.json cannot be used"):
        read_records(("sami-ti",), "micro", tmp_path)


def test_a_record_cut_short_is_refused_by_name(tmp_path):
    path = write_record(tmp_path, "sami-ti", 0, answers(0.6, 1))
    path.write_text(path.read_text()[:200])
    with pytest.raises(BenchError, match=r"sami-ti-seed0\.json is no JSON"):
        read_records(("sami-ti",), "micro", tmp_path)


def test_a_record_without_an_entry_says_which(tmp_path):
    path = write_record(tmp_path, "sami-ti", 0, answers(0.6, 1))
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "seconds"}))
    with pytest.raises(BenchError, match="has no 'seconds'"):
        read_records(("sami-ti",), "micro", tmp_path)


def test_records_about_different_images_are_not_compared(tmp_path):
    write_record(tmp_path, "sami-ti", 0, answers(0.6, 1))
    write_record(tmp_path, "mae-ti", 0, answers(0.6, 1, n=500))
    with pytest.raises(BenchError, match="different images"):
        read_records(("sami-ti", "mae-ti"), "micro", tmp_path)


def test_curves_about_different_annotations_are_not_compared(tmp_path):
    write_fake_curve(tmp_path, "m", 0, {0.1: [0.5, 0.6], 1: [0.7, 0.8]}, [1, 2])
    write_fake_curve(tmp_path, "m", 1, {0.1: [0.5, 0.6], 1: [0.7, 0.8]}, [1, 3])
    with pytest.raises(BenchError, match="other annotations than seed 0"):
        read_curves(("m",), tmp_path)


@pytest.mark.parametrize("ious", [{0.1: [0.5, 0.6], 1: [0.5]}, {}, {0.1: [0.5, float("nan")]}])
def test_a_damaged_curve_is_refused_by_name(tmp_path, ious):
    write_fake_curve(tmp_path, "m", 0, ious, [1, 2])
    with pytest.raises(BenchError, match=r"figure7-m-seed0\.json cannot be used"):
        read_curves(("m",), tmp_path)


def test_a_curve_whose_points_were_changed_is_refused(tmp_path):
    path = write_fake_curve(tmp_path, "m", 0, {0.1: [0.5, 0.6]}, [1, 2])
    pd.DataFrame({"epoch": 0.1, "image_id": [1, 2], "iou": [0.5, 0.9]}).to_parquet(path.with_suffix(".parquet"))
    with pytest.raises(BenchError, match="another hash than it says"):
        read_curves(("m",), tmp_path)
