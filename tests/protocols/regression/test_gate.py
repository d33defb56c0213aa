import json
import math

import numpy as np
import pandas as pd
import pytest

from models.errors import BenchError
from protocols import table4
from protocols.regression import gated
from protocols.regression.conditions import differences
from protocols.regression.gate import changes, compare
from protocols.regression.history import append_history
from protocols.regression.snapshots import CELL_KEY, EXPECTED, Snapshot, read_snapshot, write_snapshot
from protocols.regression.tolerances import COLUMNS, FACTOR, FLOOR, Tolerances, read_tolerances
from reports.regression import as_markdown

NONE = Tolerances(pd.DataFrame(columns=COLUMNS))


def snapshot(means, ious=()):
    """A snapshot of Table 4 with one row, means by column, and boxes on COCO with some IoUs."""
    rows = [("table4", "SAM", column, value, True, "") for column, value in means.items()]
    cells = pd.DataFrame(rows, columns=[*CELL_KEY, "value", "percent", "why"])
    records = pd.DataFrame(
        {
            "image_id": np.arange(len(ious)) // 4,
            "annotation_id": np.arange(len(ious)),
            "prompt": "box",
            "repeat": 0,
            "iou": np.array(ious, float),
        }
    )
    kept = table4.WATCHED.kept(records).assign(data="coco", row="SAM")
    return Snapshot(cells, {"table4": kept} if len(ious) else {})


def drifted(expected, found, tolerances=NONE):
    return [(one.level, one.column) for one in compare(expected, found, tolerances) if one.drifted]


def test_a_mean_drifts_when_it_is_further_off_than_half_a_printed_digit():
    expected = snapshot({"coco_box": 0.7, "coco_1click": 0.5})
    assert drifted(expected, snapshot({"coco_box": 0.7004, "coco_1click": 0.4994})) == [("mean", "coco_1click")]


def test_a_tolerance_is_a_multiple_of_the_largest_difference_that_was_measured():
    measured = [
        ("2 threads", "table4", "coco_box", "mean", 0.001, "SAM"),
        ("b", "table4", "coco_box", "mean", 0, "SAM"),
    ]
    tolerances = Tolerances(pd.DataFrame(measured, columns=COLUMNS))
    tolerance = tolerances.of("table4", "coco_box", "mean")
    assert tolerance.value == pytest.approx(FACTOR * 0.001)
    assert "2 threads" in tolerance.why
    assert tolerances.of("table4", "lvis_box", "mean").value == FLOOR["mean"]


def test_a_mean_that_held_while_records_moved_is_seen_and_said():
    ious = np.linspace(0.2, 0.9, 100)
    expected, found = snapshot({"coco_box": ious.mean()}, ious), snapshot({"coco_box": ious.mean()}, ious[::-1])
    findings = compare(expected, found, NONE)
    assert drifted(expected, found) == [("records", "coco_box")]
    assert "100 of 100 prompts moved" in findings[1].said
    assert "the mean held, but 100 of 100 prompts moved" in as_markdown(findings, [], "bench regression")


def test_one_record_alone_is_no_drift_and_two_of_a_hundred_are():
    ious = np.full(100, 0.5)
    one, two = ious.copy(), ious.copy()
    one[0] = two[:2] = 0.9
    assert drifted(snapshot({}, ious), snapshot({}, one)) == []
    assert drifted(snapshot({"a": 0.0}, ious), snapshot({"a": 0.0}, one)) == []
    assert drifted(snapshot({"a": 0.0}, ious), snapshot({"a": 0.0}, two)) == [("records", "coco_box")]


def test_numbers_that_came_or_went_drift():
    some, more = snapshot({"coco_box": 0.7}), snapshot({"coco_box": 0.7, "lvis_box": 0.6})
    assert drifted(some, more) == drifted(more, some) == [("mean", "lvis_box")]
    (lost,) = [one for one in compare(more, some, NONE) if one.drifted]
    assert math.isinf(lost.difference)
    assert lost.found is None


def test_what_is_written_is_read_again_and_what_is_damaged_is_refused(tmp_path):
    one = snapshot({"coco_box": 0.1 + 0.2}, np.linspace(0, 1, 9))
    write_snapshot(Snapshot(one.cells, one.records, {"weights": {"sam": "ab"}}), tmp_path)
    again = read_snapshot(tmp_path)
    assert again.cells["value"].tolist() == one.cells["value"].tolist()
    assert drifted(one, again) == []
    assert again.made_with == {"weights": {"sam": "ab"}}
    (tmp_path / "cells.csv").write_text("table,row\n")
    with pytest.raises(BenchError, match="no whole snapshot"):
        read_snapshot(tmp_path)


def test_an_update_of_one_table_leaves_the_others():
    before = Snapshot(snapshot({"coco_box": 0.7}, [0.5]).cells, {"table4": "old", "table2": "kept"})
    before = Snapshot(pd.concat([before.cells, before.cells.assign(table="table2")]), before.records)
    after = before.replaced_by(Snapshot(snapshot({"coco_box": 0.8}).cells, {"table4": "new"}))
    assert dict(after.records) == {"table4": "new", "table2": "kept"}
    assert sorted(zip(after.cells["table"], after.cells["value"], strict=True)) == [("table2", 0.7), ("table4", 0.8)]


def test_the_history_says_why_and_what_moved(tmp_path):
    findings = compare(snapshot({"coco_box": 0.7}), snapshot({"coco_box": 0.8}), NONE)
    for reason in ("first", "second"):
        append_history(reason, findings, snapshot({"coco_box": 0.8}), ["torch: 1, now 2"], tmp_path)
    entries = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [entry["reason"] for entry in entries] == ["first", "second"]
    assert entries[1]["moved"][0]["found"] == 0.8
    assert entries[1]["changed"] == ["torch: 1, now 2"]


def test_other_weights_data_and_libraries_are_named():
    before = {"weights": {"sam": "a"}, "versions": {"torch": "2.8"}, "data": {"table4 coco": "c"}}
    now = {"weights": {"sam": "b"}, "versions": {"torch": "2.9"}, "data": {"table4 coco": "c"}}
    assert changes(before, now) == ["weights of sam: a, now b", "torch: 2.8, now 2.9"]


def test_a_condition_s_difference_is_the_largest_of_all_rows():
    usual, other = snapshot({"coco_box": 0.7}, [0.5] * 10), snapshot({"coco_box": 0.6998}, [0.5] * 9 + [0.6])
    found = differences("2 threads", usual, other).set_index("level")
    assert found.loc["mean", "difference"] == pytest.approx(0.0002)
    assert found.loc["records", "difference"] == pytest.approx(0.1)


def test_every_gated_table_has_expectations_and_a_tolerance_of_every_column_was_measured():
    expected, tolerances = read_snapshot(), read_tolerances()
    assert set(expected.tables) == set(gated.GATED)
    for table, column in expected.cells[["table", "column"]].drop_duplicates().itertuples(index=False):
        assert tolerances.of(table, column, "mean").value >= FLOOR["mean"]


def test_expectations_stay_small():
    assert sum(path.stat().st_size for path in EXPECTED.glob("*.parquet")) < 600_000
