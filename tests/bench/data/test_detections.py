import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle

from bench.data import detection_index as module
from bench.data.detection_index import open_detections
from bench.data.detections import Detections, Mask
from models.errors import BenchError

FLAT = "box without area"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def entry(image_id: int = 1, **fields: Any) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": 3, "bbox": [1.5, 2.0, 10.0, 20.25], "score": 0.5, **fields}


def opened(tmp_path: Path, content: Any) -> Detections:
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return open_detections(path)


def test_real_detections_are_those_of_the_file_image_by_image(shared: Path) -> None:
    path = shared / "samples" / "coco" / "detections" / "coco_vitdet.json"
    expected = json.loads(path.read_bytes())
    detections = open_detections(path)
    assert (len(detections), detections.name, detections.problems) == (len(expected), "coco_vitdet", ())
    assert detections.image_ids.tolist() == sorted({e["image_id"] for e in expected})
    seen = []
    for image_id in detections.image_ids.tolist():
        found = detections.for_image(image_id)
        ids = [i for i, e in enumerate(expected) if e["image_id"] == image_id]
        assert found.detection_id.tolist() == ids
        assert found.category_id.tolist() == [expected[i]["category_id"] for i in ids]
        assert found.scores.tolist() == [expected[i]["score"] for i in ids]
        x, y, width, height = np.array([expected[i]["bbox"] for i in ids]).T
        np.testing.assert_array_equal(found.boxes_xyxy, np.stack([x, y, x + width, y + height], axis=1))
        seen += ids
    assert sorted(seen) == list(range(len(expected)))


def test_types_are_as_promised_and_the_arrays_are_the_callers_own(tmp_path: Path) -> None:
    detections = opened(tmp_path, [entry()])
    found = detections.for_image(1)
    assert [array.dtype for array in found] == [np.int64, np.int64, np.float64, np.float64]
    assert found.boxes_xyxy.tolist() == [[1.5, 2.0, 11.5, 22.25]]
    found.boxes_xyxy[:] = 0
    assert detections.for_image(1).boxes_xyxy.tolist() == [[1.5, 2.0, 11.5, 22.25]]


def test_an_image_without_detections_has_an_empty_batch(tmp_path: Path) -> None:
    for content in ([entry(5)], []):
        found = opened(tmp_path, content).for_image(4)
        assert [array.shape for array in found] == [(0,), (0,), (0, 4), (0,)]


def test_masks_are_kept_where_every_box_has_one(tmp_path: Path) -> None:
    masks = [encoded(np.ones((5, 4 + k), bool)) for k in range(3)]
    found = opened(tmp_path, [entry(2, segmentation=masks[0]), entry(1, segmentation=masks[1])])
    assert found.has_masks
    assert found.masks_for_image(1) == [Mask((5, 5), masks[1]["counts"])]
    assert found.masks_for_image(2) == [Mask((5, 4), masks[0]["counts"])]
    assert found.masks_for_image(3) == []


def encoded(mask: np.ndarray) -> dict[str, Any]:
    found = rle.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(found["size"]), "counts": found["counts"].decode()}


def test_uncompressed_masks_are_those_of_pycocotools(tmp_path: Path) -> None:
    mask = np.zeros((5, 4), bool)
    mask[1:4, 1:3] = True
    runs = {"size": [5, 4], "counts": [6, 3, 2.0, 3, 6]}
    found = opened(tmp_path, [entry(segmentation=runs)])
    assert found.masks_for_image(1) == [Mask((5, 4), encoded(mask)["counts"])]


@pytest.mark.parametrize(
    ("segmentation", "why"),
    [
        (None, "entry 1 .* has no mask"),
        ([[0, 0, 1, 1, 1, 0]], "entry 1 .* has polygons"),
        ([0, 0, 1, 1, 1, 0], "entry 1 .* has polygons"),
        ({"size": [5, 5], "counts": [3, 21]}, "entry 1 .* counts 24 pixels"),
        ({"size": [5, 5], "counts": [3.5, 21.5]}, "entry 1 .* 3.5, which is no whole number"),
        ({"size": [5, 5], "counts": [True, 24]}, "entry 1 .* True, which is no whole number"),
        ({"size": [5, 5], "counts": "!!"}, "entry 1 .* damaged mask"),
        ({"size": [5, 5], "counts": ""}, "entry 1 .* damaged mask"),
        ({"size": [5, 5], "counts": 5}, "entry 1 .* no RLE"),
        ({"size": [1e30, 5], "counts": [25]}, "entry 1 .* no RLE"),
        ({"size": [5], "counts": [25]}, "entry 1 .* no RLE"),
        ({"counts": [25]}, "entry 1 .*it has no 'size'"),
    ],
)
def test_a_mask_that_cannot_be_scored_leaves_the_boxes_and_is_named(
    tmp_path: Path, segmentation: Any, why: str
) -> None:
    mask = encoded(np.ones((5, 5), bool))
    found = opened(tmp_path, [entry(segmentation=mask, extra=[1, {}]), entry(segmentation=segmentation)])
    assert (len(found), found.has_masks) == (2, False)
    with pytest.raises(BenchError, match=why):
        found.masks_for_image(1)


def test_a_mask_of_another_size_than_its_image_is_named(tmp_path: Path) -> None:
    found = opened(tmp_path, [entry(segmentation=encoded(np.ones((5, 5), bool)))])
    assert found.misplaced_mask({1: (5, 5), 2: (9, 9)}) == ""
    assert "entry 0 (counting from 0) of boxes has a mask of size [5, 5], image 1 is [5, 6]" in found.misplaced_mask(
        {1: (5, 6)}
    )


def test_opening_again_does_not_parse_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(tmp_path, [entry(2), entry(1, bbox=[0, 0, 0, 5])])
    monkeypatch.setattr(module, "_build", None)
    second = open_detections(tmp_path / "boxes.json")
    assert second == first
    assert second.problems == first.problems != ()
    for a, b in zip(first.for_image(1), second.for_image(1), strict=True):
        np.testing.assert_array_equal(a, b)


def test_boxes_without_area_are_kept_and_counted(tmp_path: Path) -> None:
    detections = opened(tmp_path, [entry(), entry(bbox=[1, 1, 0, 5]), entry(bbox=[1, 1, 5, 0])])
    (problem,) = detections.problems
    assert (problem.kind, problem.count, problem.examples) == (FLAT, 2, (1, 2))
    assert len(detections.for_image(1).scores) == 3


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in entry().items() if name != key}


@pytest.mark.parametrize(
    "bad,complaint",
    [
        (without("image_id"), "has no 'image_id'"),
        (without("category_id"), "has no 'category_id'"),
        (without("bbox"), "has no 'bbox'"),
        (without("score"), "has no 'score'"),
        (entry(bbox=[1, 2, 3]), "is malformed"),
        (entry(bbox=[1, 2, math.nan, 4]), "must be finite"),
        (entry(bbox=[1, 2, math.inf, 4]), "must be finite"),
        (entry(score=math.nan), "must be finite"),
        (entry(bbox=[1, 2, -3, 4]), r"negative width or height: COCO results have \[x, y, width, height\]"),
        (entry(bbox=[1, 2, 3, -0.1]), "negative width or height"),
        (entry(bbox=["1", 2, 3, 4]), "must be four numbers"),
        (entry(score=None), "must be four numbers and 'score' one"),
        (entry(image_id="1"), "not a whole number"),
        (entry(category_id=1.5), "not a whole number"),
        ([1, 2], "is malformed"),
        (7, "is malformed"),
    ],
)
def test_a_malformed_entry_is_named_by_its_position(bad: Any, complaint: str, tmp_path: Path) -> None:
    n = 5000
    with pytest.raises(BenchError, match=rf"boxes\.json: entry 5,000 \(counting from 0\) .*{complaint}"):
        opened(tmp_path, [entry()] * n + [bad, entry(), without("bbox")])


@pytest.mark.parametrize(
    "content,complaint",
    [
        (
            '[{"image_id": 1, "category',
            r"ends in the middle of a value at byte 1 of 26: mend or download it again",
        ),
        ("", "is empty"),
        ('{"images": []}', "is an object, as annotation files are, not a list of results"),
        ("no JSON", "is not JSON at byte 0"),
    ],
)
def test_a_file_that_is_no_list_of_results_is_an_error(content: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=complaint):
        opened(tmp_path, content)


def test_an_absent_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"nowhere\.json is not there"):
        open_detections(tmp_path / "nowhere.json")


BOXES = st.tuples(*[st.floats(0, 100)] * 4).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
ROWS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9), BOXES, st.floats(0, 1)), min_size=1)


@given(ROWS)
def test_arrays_in_memory_are_grouped_by_image_in_their_own_order(rows: list[Any]) -> None:
    detections = Detections.from_arrays(*zip(*rows, strict=True), name="drawn", sha256="0" * 64)
    assert len(detections) == len(rows)
    seen: list[int] = []
    for image_id in detections.image_ids.tolist():
        found = detections.for_image(image_id)
        assert found.detection_id.tolist() == sorted(found.detection_id.tolist())
        for i, category, box, score in zip(*(array.tolist() for array in found), strict=True):
            assert (image_id, category, tuple(box), score) == rows[i]
        seen += found.detection_id.tolist()
    assert sorted(seen) == list(range(len(rows)))


@pytest.mark.parametrize(
    "change,complaint",
    [
        ({"scores": [0.5]}, r"need \[N\], \[N\], \[N, 4\] and \[N\], got \[2\], \[2\], \[2, 4\], \[1\]"),
        ({"scores": [0.5, math.nan]}, "detection 1 of 'drawn' must be finite"),
        (
            {"boxes_xyxy": [[0, 0, 1, 1], [5, 5, 4, 6]]},
            r"detection 1 .* x1 <= x2 .* got box \[5.0, 5.0, 4.0, 6.0\]",
        ),
    ],
)
def test_arrays_that_make_no_detections_are_an_error(change: dict[str, Any], complaint: str) -> None:
    arrays = {
        "image_id": [1, 2],
        "category_id": [1, 1],
        "boxes_xyxy": [[0, 0, 1, 1]] * 2,
        "scores": [0.1, 0.2],
    }
    with pytest.raises(BenchError, match=complaint):
        Detections.from_arrays(**{**arrays, **change}, name="drawn", sha256="0")


def test_arrays_without_a_row_make_no_detections() -> None:
    detections = Detections.from_arrays([], [], [], [], name="none", sha256="0")
    assert len(detections) == 0
    assert detections.for_image(1).boxes_xyxy.shape == (0, 4)
