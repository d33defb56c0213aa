"""Records are the same to the last bit, or to within a stated rounding, or the first difference is named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.store import RunStore
from bench.store.differences import TOLERANCE, as_stored, compare

RECORDS = pd.DataFrame(
    {
        "image_id": [7, 7, 7],
        "annotation_id": [1, 1, 2],
        "prompt": ["box", "1click", "box"],
        "iou": [0.5, float("nan"), 0.25],
        "pick": [0, -1, 2],
        "iscrowd": [False, False, True],
        "counts": ["a" * 100, "b", ""],
    }
)


def changed(row: int, column: str, value: object) -> pd.DataFrame:
    frame = RECORDS.copy()
    frame[column] = [value if k == row else old for k, old in enumerate(frame[column])]
    return frame


def test_records_that_were_stored_are_identical_to_those_that_were_written(tmp_path) -> None:
    run = RunStore(tmp_path).open({"a": 1}, 1)
    run.write(0, RECORDS)
    assert compare(run.read(), as_stored(RECORDS), 7) == (None, 0.0)


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [(1, "prompt", "3click"), (2, "iou", 0.26), (1, "iou", 0.1), (0, "iou", float("nan")), (0, "pick", 1),
     (2, "iscrowd", False), (0, "counts", "a" * 99), (2, "iou", float("inf"))],
)  # fmt: skip
def test_the_first_record_that_differs_is_named_with_its_column(row: int, column: str, value: object) -> None:
    found = compare(RECORDS, changed(row, column, value), 7).difference
    assert found is not None
    assert (found.image_id, found.record, found.column) == (7, row, column)
    assert found.about == {"annotation_id": RECORDS["annotation_id"][row], "prompt": RECORDS["prompt"][row]}


@given(st.floats(0, 1), st.floats(-4e-6, 4e-6))
def test_floats_that_are_apart_are_rounding_up_to_the_tolerance_and_never_identical(value: float, step: float) -> None:
    stored, now = changed(0, "iou", value), changed(0, "iou", value + step)
    gap = abs(stored["iou"][0] - now["iou"][0])
    found = compare(stored, now, 7)
    assert (found.difference is not None) == (gap > TOLERANCE)
    assert found.rounding == (0.0 if gap > TOLERANCE else gap)


@pytest.mark.parametrize("counts", [(2, 3), (3, 2), (0, 1)])
def test_records_too_many_or_too_few_are_a_difference(counts: tuple[int, int]) -> None:
    found = compare(RECORDS[: counts[0]], RECORDS[: counts[1]], 7).difference
    assert found is not None
    assert found.words.endswith(f"{counts[0]} records -> {counts[1]} records")
    assert found.record == min(counts)


def test_other_columns_are_a_difference() -> None:
    found = compare(RECORDS, RECORDS.rename(columns={"iou": "IoU"}), 7).difference
    assert found is not None
    assert found.words == "image 7, record 1: columns of its own: iou -> columns of its own: IoU"


def test_an_image_without_records_is_the_same_as_itself() -> None:
    none = RECORDS[:0]
    assert compare(none, as_stored(none), 7) == (None, 0.0)
    assert np.isfinite(compare(none, none, 7).rounding)
