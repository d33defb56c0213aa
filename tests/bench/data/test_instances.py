import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycocotools_mask
from pycocotools.coco import COCO

from bench.data import annotation_index
from bench.data.annotation_index import ROWS
from bench.data.images import read_rgb
from bench.data.instances import Instances, open_instances
from models.errors import BenchError

SQUARE = [5.0, 5.0, 15.0, 5.0, 15.0, 15.0, 5.0, 15.0]
HEIGHT, WIDTH = 30, 40


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


def annotation(id_: int, image_id: int = 1, segmentation: Any = None, **fields: Any) -> dict[str, Any]:
    polygons = [SQUARE] if segmentation is None else segmentation
    entry = {"id": id_, "image_id": image_id, "category_id": 7, "area": 100.0, "bbox": [5.0, 5.0, 10.0, 10.0]}
    return {**entry, "iscrowd": 0, "segmentation": polygons, **fields}


def document(*annotations: dict[str, Any], image_ids: tuple[int, ...] = (1, 2)) -> dict[str, Any]:
    images = [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in image_ids]
    return {"images": images, "annotations": list(annotations), "categories": [{"id": 7, "name": "leaf"}]}


def write(root: Path, content: dict[str, Any] | list[Any] | str) -> Path:
    """Lay out a COCO set whose images are all on disk; return the annotation file."""
    path = root / "coco" / "annotations" / "instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "coco" / "val2017").mkdir(exist_ok=True)
    for i in range(1, 4):
        (root / "coco" / "val2017" / f"{i}.png").touch()
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def opened(root: Path, *annotations: dict[str, Any], **options: Any) -> Instances:
    write(root, document(*annotations, **options))
    return open_instances("coco", root)


def problems(instances: Instances) -> dict[str, tuple[int, tuple[int, ...]]]:
    return {problem.kind: (problem.count, problem.examples) for problem in instances.problems}


def test_real_coco_is_what_pycocotools_reads(shared: Path) -> None:
    instances = open_instances("coco", shared / "samples")
    oracle = COCO(instances.annotation_path)
    assert (instances.name, instances.n_annotations, len(instances.images)) == ("coco", 470, 50)
    assert instances.categories == {category["id"]: category["name"] for category in oracle.cats.values()}
    assert [image.id for image in instances.images] == sorted(oracle.imgs)
    crowds = 0
    for image in instances.images:
        entry = oracle.imgs[image.id]
        assert (image.height, image.width, image.path.name) == (
            entry["height"],
            entry["width"],
            entry["file_name"],
        )
        annotations = instances.annotations(image.id)
        assert [a.id for a in annotations] == [a["id"] for a in oracle.imgToAnns[image.id]]
        for found, expected in zip(annotations, oracle.imgToAnns[image.id], strict=True):
            mask = oracle.annToMask(expected)
            np.testing.assert_array_equal(found.mask(image.height, image.width), mask.astype(bool))
            assert found.segmentation == expected["segmentation"]
            assert (found.area, found.category_id, found.image_id) == (
                expected["area"],
                expected["category_id"],
                image.id,
            )
            crowds += found.iscrowd
    assert crowds == 5


def test_real_lvis_is_what_the_lvis_package_reads(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "float", float, raising=False)
    lvis = pytest.importorskip("lvis")
    instances = open_instances("lvis", shared / "samples")
    oracle = lvis.LVIS(str(instances.annotation_path))
    assert (instances.name, instances.n_annotations, len(instances.images)) == ("lvis", 465, 50)
    assert instances.categories == {id_: category["name"] for id_, category in oracle.cats.items()}
    for image in instances.images:
        entry = oracle.imgs[image.id]
        assert list(image.neg_category_ids) == entry["neg_category_ids"]
        assert list(image.not_exhaustive_category_ids) == entry["not_exhaustive_category_ids"]
        assert image.path == shared / "samples" / "coco" / "val2017" / Path(entry["coco_url"]).name
        annotations = instances.annotations(image.id)
        assert [a.id for a in annotations] == oracle.get_ann_ids(img_ids=[image.id])
        for found in annotations:
            expected = oracle.anns[found.id]
            x, y, width, height = expected["bbox"]
            assert found.box_xyxy == pytest.approx((x, y, x + width, y + height), abs=0.02)
            assert (found.area, found.category_id, found.iscrowd) == (
                expected["area"],
                expected["category_id"],
                False,
            )
            np.testing.assert_array_equal(
                found.mask(image.height, image.width), oracle.ann_to_mask(expected).astype(bool)
            )


def test_all_three_ways_to_write_a_mask_survive(tmp_path: Path) -> None:
    truth = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    truth[4:9, 10:30] = 1
    compressed = {"size": [HEIGHT, WIDTH], "counts": pycocotools_mask.encode(truth)["counts"].decode()}
    runs = {"size": [HEIGHT, WIDTH], "counts": [304, *[5, 25] * 19, 5, 321]}
    polygons = [SQUARE, [20, 20, 30, 20, 30, 29]]
    instances = opened(
        tmp_path, *(annotation(i, segmentation=s) for i, s in enumerate((polygons, runs, compressed), 1))
    )
    found = instances.annotations(1)
    assert [a.segmentation for a in found] == [polygons, runs, compressed]
    for a in found[1:]:
        np.testing.assert_array_equal(a.mask(HEIGHT, WIDTH), truth.astype(bool))


def test_annotations_keep_the_order_of_the_file_within_an_image(tmp_path: Path) -> None:
    instances = opened(tmp_path, *(annotation(id_, image_id) for id_, image_id in ((9, 2), (4, 1), (3, 2), (7, 1))))
    assert [[a.id for a in instances.annotations(image.id)] for image in instances.images] == [[4, 7], [9, 3]]


def test_a_file_of_many_batches_is_read_like_one_of_few(tmp_path: Path) -> None:
    n = 2 * ROWS + 5
    entries = [annotation(i, i % 3 + 1, [[v + i % 7 for v in SQUARE]], area=float(i)) for i in range(1, n + 1)]
    instances = opened(tmp_path, *entries, image_ids=(3, 1, 2))
    found = {a.id: a for image in instances.images for a in instances.annotations(image.id)}
    assert len(found) == instances.n_annotations == n
    for i in (1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 1, n):
        assert (found[i].area, found[i].image_id, found[i].segmentation) == (
            i,
            i % 3 + 1,
            entries[i - 1]["segmentation"],
        )


def test_keys_may_come_in_any_order_and_unknown_ones_are_passed_over(tmp_path: Path) -> None:
    whole = {"extra": [1, {"a": []}], **document(annotation(1)), "info": {"images": []}}
    write(tmp_path, dict(reversed(whole.items())))
    assert len(open_instances("coco", tmp_path).annotations(1)) == 1


def test_opening_again_does_not_parse_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = opened(tmp_path, annotation(1), annotation(2, 2))
    monkeypatch.setattr(annotation_index, "build", None)
    second = open_instances("coco", tmp_path)
    assert second == first
    assert second.annotations(2) == first.annotations(2)


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    before = opened(tmp_path, annotation(1))
    after = opened(tmp_path, annotation(1), annotation(2))
    assert before.sha256 != after.sha256
    assert [len(instances.annotations(1)) for instances in (before, after)] == [1, 2]


def test_reading_an_image_touches_its_own_annotations_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instances = opened(tmp_path, *(annotation(i, 1 if i % 100 else 2) for i in range(1, 1001)))
    touched = []
    original = annotation_index.segmentation_at
    monkeypatch.setattr(
        annotation_index, "segmentation_at", lambda batch, row: touched.append(row) or original(batch, row)
    )
    assert [a.id for a in instances.annotations(2)] == list(range(100, 1001, 100))
    assert touched == [number - 1 for number in range(100, 1001, 100)]


def test_degenerate_polygons_are_dropped_and_counted(tmp_path: Path) -> None:
    bad = [[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, math.nan, 5.0, 8.0, 8.0], [1.0, None, 5.0, 5.0, 8.0, 8.0], None]
    instances = opened(tmp_path, annotation(1), annotation(2, segmentation=[*bad[:2], SQUARE, *bad[2:]]))
    assert problems(instances) == {"degenerate polygon": (4, (2,))}
    sound, mended = instances.annotations(1)
    np.testing.assert_array_equal(mended.mask(HEIGHT, WIDTH), sound.mask(HEIGHT, WIDTH))


def test_annotations_without_a_pixel_are_skipped_and_counted(tmp_path: Path) -> None:
    outside = [[value + 500 for value in SQUARE]]
    nothing = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    empty = [annotation(i, segmentation=s) for i, s in ((2, outside), (3, nothing), (4, []), (5, [[1.0, 1.0]]))]
    instances = opened(tmp_path, annotation(1), *empty, annotation(6))
    assert [a.id for a in instances.annotations(1)] == [1, 6]
    assert problems(instances)["empty mask"] == (4, (2, 3, 4, 5))
    assert [a.id for a in instances.annotations(1, with_empty=True)] == [1, 2, 3, 4, 5, 6]
    assert not any(a.mask(HEIGHT, WIDTH).any() for a in instances.annotations(1, with_empty=True)[1:5])
    assert instances.n_annotations == 6


def test_annotations_of_unlisted_images_are_skipped_and_counted(tmp_path: Path) -> None:
    instances = opened(tmp_path, annotation(1), annotation(2, image_id=99))
    assert problems(instances) == {"annotation of an image that is not listed": (1, (2,))}
    with pytest.raises(BenchError, match="lists no image 99"):
        instances.annotations(99)


def test_a_file_none_of_whose_annotations_is_of_a_listed_image_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, document(annotation(1, 98), annotation(2, 99)))
    with pytest.raises(BenchError, match="has 2 annotations, none of an image that it lists: download it again"):
        open_instances("coco", tmp_path)


def test_boxes_are_clipped_and_those_far_outside_counted(tmp_path: Path) -> None:
    boxes = [[-0.01, 0.0, 10.0, 10.0], [30.0, 20.0, 20.0, 10.004], [-9.0, -9.0, 5.0, 5.0]]
    instances = opened(tmp_path, *(annotation(i, bbox=box) for i, box in enumerate(boxes, 1)))
    found = [a.box_xyxy for a in instances.annotations(1)]
    assert found == [(0.0, 0.0, 9.99, 10.0), (30.0, 20.0, 40.0, 30.0), (0.0, 0.0, 0.0, 0.0)]
    assert problems(instances) == {"box outside the image, clipped": (2, (2, 3))}


def test_images_that_are_not_on_disk_are_skipped_and_counted_at_every_opening(tmp_path: Path) -> None:
    instances = opened(tmp_path, annotation(1), annotation(2, 2))
    (tmp_path / "coco" / "val2017" / "2.png").unlink()
    assert problems(instances) == {}
    again = open_instances("coco", tmp_path)
    assert [image.id for image in again.images] == [1]
    assert problems(again) == {"image file that is not on disk": (1, (2,))}
    assert str(again.problems[0]) == "1 x image file that is not on disk (ids 2)"


def test_a_missing_data_set_is_an_error_that_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(BenchError) as error:
        open_instances("coco", tmp_path)
    assert "http://images.cocodataset.org/annotations/annotations_trainval2017.zip" in str(error.value)
    assert f"download http://images.cocodataset.org/zips/val2017.zip and unpack it into {tmp_path / 'coco'}" in str(
        error.value
    )
    assert str(error.value).endswith("or use --scale micro")
    with pytest.raises(BenchError, match=r"https://dl\.fbaipublicfiles\.com/LVIS/lvis_v1_val\.json\.zip and unpack"):
        open_instances("lvis", tmp_path)


def test_annotations_without_any_photo_are_a_missing_data_set(tmp_path: Path) -> None:
    write(tmp_path, document(annotation(1)))
    for path in (tmp_path / "coco" / "val2017").iterdir():
        path.unlink()
    with pytest.raises(
        BenchError,
        match=r"val2017 is not there: run `bench data fetch coco`, or download http://images\..*/zips/val2017\.zip",
    ):
        open_instances("coco", tmp_path)


def test_a_file_cut_in_half_is_an_error_that_names_the_byte(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "lvis" / "annotations").mkdir(parents=True)
    data = (shared / "samples" / "lvis" / "annotations" / "lvis_v1_val.json").read_bytes()
    half = data[: len(data) // 2]
    (tmp_path / "lvis" / "annotations" / "lvis_v1_val.json").write_bytes(half)
    expected = (
        rf"lvis_v1_val\.json ends in the middle of a value at byte [\d,]+ of {len(half):,}: "
        r"download it again \(bench data verify lvis\)$"
    )
    with pytest.raises(BenchError, match=expected):
        open_instances("lvis", tmp_path)


def drop(key: str) -> dict[str, Any]:
    return {name: value for name, value in document(annotation(1)).items() if name != key}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in annotation(2).items() if name != key}


BROKEN: dict[str, tuple[Any, str]] = {
    "html": ("<html>", r"is not JSON at byte 0 of 6"),
    "list": ([{"image_id": 1}], "is a list, as detections are, not an annotation file"),
    "no images": (drop("images"), "has no list 'images' at its top level"),
    "no annotations": (drop("annotations"), "has no list 'annotations'"),
    "no lists": ({"info": {}}, "has no list 'images' or 'annotations' or 'categories'"),
    "no image id": (
        document(annotation(1), without("image_id")),
        r"annotation 1 \(counting from 0\) has no 'image_id'",
    ),
    "no box": (document(annotation(1), without("bbox")), "annotation 1 .* has no 'bbox'"),
    "short box": (document(annotation(1, bbox=[1, 2, 3])), "annotation 0 .* is malformed"),
    "box of NaN": (document(annotation(1, bbox=[1, 2, math.nan, 4])), "annotation 0 .* must be finite"),
    "box of null": (document(annotation(1, bbox=[1, 2, None, 4])), "annotation 0 .* must be finite"),
    "negative box": (document(annotation(1, bbox=[1, 2, -3, 4])), "negative width or height"),
    "text as id": (document(annotation(1, image_id="a")), "annotation 0 .* is malformed"),
    "null as id": (document(annotation(1, category_id=None)), "'category_id' is None, not a whole number"),
    "no segmentation": (
        document({**annotation(1), "segmentation": None}),
        "neither a list of polygons nor an RLE",
    ),
    "text in a polygon": (document(annotation(1, segmentation=[["a"] * 6])), "annotation 0 .* is malformed"),
    "RLE without size": (document(annotation(1, segmentation={"counts": [1]})), "has no 'size'"),
    "RLE of null": (document(annotation(1, segmentation={"counts": [None], "size": [30, 40]})), "has a null"),
    "RLE with a fraction": (
        document(annotation(1, segmentation={"counts": [304.5, 10, 885.0], "size": [30, 40]})),
        r"annotation 0 \(counting from 0\) is malformed \(its RLE has the count 304.5, which is no whole number",
    ),
    "RLE of text that is no RLE": (
        document(annotation(17, segmentation={"counts": "ab~", "size": [30, 40]})),
        "annotation 17: its compressed RLE has the byte b'~'",
    ),
    "RLE whose counts are a dictionary": (
        document(annotation(1, segmentation={"counts": {"a": 1}, "size": [30, 40]})),
        "its 'counts' are neither a list nor text",
    ),
    "RLE of another size": (
        document(annotation(1, segmentation={"counts": [6], "size": [2, 3]})),
        r"annotation 1: its RLE is of size \[2, 3\] \(height, width\), its image \[30, 40\]",
    ),
    "entry that is a number": ({**document(), "annotations": [5]}, "annotation 0 .* is malformed"),
    "image without height": ({**document(), "images": [{"id": 1, "width": 3}]}, "image 0 .* has no 'height'"),
    "image without name": (
        {**document(), "images": [{"id": 1, "width": 3, "height": 3}]},
        "image 0 .* has no 'file_name'",
    ),
    "image without area": (
        {**document(), "images": [{"id": 1, "width": 0, "height": 3, "file_name": "a"}]},
        r"image 0 .* is malformed \(its size is 3 x 0, not 1 to",
    ),
    "image twice": (document(annotation(1), image_ids=(1, 2, 1)), "has the image id 1 more than once"),
    "annotation twice": (document(annotation(5), annotation(5, 2)), "has the annotation id 5 more than once"),
    "category without id": ({**document(), "categories": [{"name": "x"}]}, "category 0 .* has no 'id'"),
    "no category": ({**document(), "categories": []}, "lists no categories"),
    "id 0": (document(annotation(0)), "'id' is 0, which evaluators take for 'no match'"),
    "fraction as id": (document(annotation(1.5)), "'id' is 1.5, not a whole number"),
    "huge id": (document(annotation(2**70)), "'id' is 1180591620717411303424, not a whole number"),
    "truth value as id": (document(annotation(1, image_id=True)), "'image_id' is True, not a whole number"),
    "huge image": (
        {**document(), "images": [{"id": 1, "width": 2**40, "height": 3, "file_name": "a"}]},
        "'width' is 1099511627776, not a whole number",
    ),
    "huge area": (
        {**document(), "images": [{"id": 1, "width": 10**6, "height": 10**6, "file_name": "a"}]},
        "its size is 1,000,000 x 1,000,000",
    ),
    "flat polygon": (document(annotation(1, segmentation=SQUARE)), "'segmentation' is a flat list"),
    "file name with NUL": (
        {**document(), "images": [{"id": 1, "width": 3, "height": 3, "file_name": "a\0"}]},
        "which no file under the folder of photos can be called",
    ),
    "file name outside": (
        {**document(), "images": [{"id": 1, "width": 3, "height": 3, "file_name": "../../x.jpg"}]},
        "which no file under the folder of photos can be called",
    ),
    "a list twice": (json.dumps(document())[:-1] + ', "images": []}', "has 'images' twice"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_annotation_file_is_an_error_of_one_sentence(kind: str, tmp_path: Path) -> None:
    content, complaint = BROKEN[kind]
    path = write(tmp_path, content)
    with pytest.raises(BenchError, match=complaint) as error:
        open_instances("coco", tmp_path)
    assert str(error.value).startswith(str(path))
    assert str(error.value).endswith("download it again (bench data verify coco)")
    assert not list((tmp_path / "cache").rglob("*.index"))


def test_an_lvis_image_must_say_what_was_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "lvis" / "annotations" / "lvis_v1_val.json"
    path.parent.mkdir(parents=True)
    image = {"id": 1, "height": 3, "width": 3, "coco_url": "http://images.cocodataset.org/train2017/1.jpg"}
    path.write_text(json.dumps({"images": [image], "annotations": [], "categories": []}))
    with pytest.raises(BenchError, match=r"image 0 .* has no 'neg_category_ids'"):
        open_instances("lvis", tmp_path)


def test_lvis_finds_photos_in_train2017_too(tmp_path: Path) -> None:
    path = tmp_path / "lvis" / "annotations" / "lvis_v1_val.json"
    path.parent.mkdir(parents=True)
    images = [
        {
            "id": i,
            "height": 3,
            "width": 3,
            "coco_url": f"http://images.cocodataset.org/{folder}/{i}.jpg",
            "neg_category_ids": [4],
            "not_exhaustive_category_ids": [],
        }
        for i, folder in ((1, "train2017"), (2, "val2017"))
    ]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "frequency": "f"}]}))
    for folder, name in (("train2017", "1.jpg"), ("val2017", "2.jpg")):
        (tmp_path / "coco" / folder).mkdir(parents=True)
        (tmp_path / "coco" / folder / name).touch()
    found = open_instances("lvis", tmp_path).images
    assert [image.path.parent.name for image in found] == ["train2017", "val2017"]
    assert found[0].neg_category_ids == (4,)


def test_a_file_without_annotations_has_images_without_any(tmp_path: Path) -> None:
    instances = opened(tmp_path)
    assert [instances.annotations(image.id) for image in instances.images] == [[], []]


def test_a_mask_asked_for_at_another_size_names_the_annotation(tmp_path: Path) -> None:
    rle = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    (found,) = opened(tmp_path, annotation(17, segmentation=rle)).annotations(1)
    with pytest.raises(BenchError, match="annotation 17 of image 1: its RLE is of size"):
        found.mask(3, 4)


def test_a_photo_of_another_size_is_found_when_it_is_read(tmp_path: Path) -> None:
    image = opened(tmp_path, annotation(1)).images[0]
    Image.new("RGB", (8, 9)).save(image.path)
    with pytest.raises(BenchError, match=r"is 9 x 8 .* annotations are for 30 x 40"):
        read_rgb(image.path, size=(image.height, image.width))


def test_an_unknown_data_set_is_named_with_the_nearest_known(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="unknown data set 'lviss': did you mean 'lvis'"):
        open_instances("lviss", tmp_path)


def test_data_modules_do_not_import_torch() -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); import bench.data; print('torch' in sys.modules)"
    command = [sys.executable, "-c", script, str(Path(__file__).resolve().parents[3])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "False"
