"""What detectors are trained on: COCO's photos with objects, and dead leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data.boxes import tight_box_xyxy
from bench.data.dead_leaves import ade20k, coco, detection, imagenet, training
from bench.data.dead_leaves import crowded as render
from bench.data.dead_leaves.detection import DETECTION_SEED, NAMES, detection_scenes, draw_named_scene
from bench.data.instances import open_instances
from bench.data.training.detection import CocoPhotos, DetectionBatches
from models.errors import BenchError
from models.vitdet.build import MICRO_CLASSES

SQUARE = [[2.0, 2.0, 12.0, 2.0, 12.0, 12.0, 2.0, 12.0]]


def annotation(number: int, image: int, category: int, *, crowd: bool = False) -> dict[str, Any]:
    runs = {"size": [20, 30], "counts": [0, 100, 500]}
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": runs if crowd else SQUARE,
        "area": 100.0,
        "bbox": [2, 2, 10, 10],
        "iscrowd": int(crowd),
    }


ANNOTATIONS = [
    annotation(1, 1, 90),
    annotation(2, 1, 7),
    annotation(3, 1, 7, crowd=True),
    annotation(4, 2, 7, crowd=True),
    annotation(5, 4, 7),
]


def lay_out(root: Path, annotations: list[dict[str, Any]] = ANNOTATIONS, split: str = "train2017") -> Path:
    """Four photos: with objects, with a crowd alone, with nothing, with an object."""
    folder = root / "coco" / split
    folder.mkdir(parents=True)
    for number in range(1, 5):
        Image.new("RGB", (30, 20), (number, 0, 0)).save(folder / f"{number}.png")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 20, "width": 30} for n in range(1, 5)],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "leaf"}, {"id": 90, "name": "part"}],
    }
    path = root / "coco" / "annotations" / f"instances_{split}.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return root


class TestCocoPhotos:
    def test_photos_without_objects_are_counted_and_kept_out(self, tmp_path: Path) -> None:
        photos = CocoPhotos(open_instances("coco-train", lay_out(tmp_path)))
        assert (len(photos), photos.without_objects) == (2, 2)

    def test_crowds_are_left_out_and_labels_count_the_categories_from_1(self, tmp_path: Path) -> None:
        photos = CocoPhotos(open_instances("coco-train", lay_out(tmp_path)))
        first = photos.photo(0)
        assert photos.category_ids == (7, 90)
        assert first.labels.tolist() == [2, 1]
        assert first.masks.sum(axis=(1, 2)).tolist() == [100, 100]
        assert first.image.shape == (20, 30, 3)

    def test_a_category_that_the_file_does_not_list_is_refused(self, tmp_path: Path) -> None:
        instances = open_instances("coco-train", lay_out(tmp_path, [*ANNOTATIONS, annotation(9, 4, 8)]))
        with pytest.raises(BenchError, match="objects of category 8, which is not among its 2 categories"):
            CocoPhotos(instances)

    def test_nothing_but_crowds_is_refused(self, tmp_path: Path) -> None:
        instances = open_instances("coco-train", lay_out(tmp_path, [annotation(4, 2, 7, crowd=True)]))
        with pytest.raises(BenchError, match=r"no photo of .* has an object"):
            CocoPhotos(instances)

    def test_a_photo_of_another_size_than_its_masks_is_refused(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path)
        Image.new("RGB", (31, 20)).save(root / "coco" / "train2017" / "1.png")
        with pytest.raises(BenchError, match=r"is 20 x 31 .* but its annotations are for 20 x 30"):
            CocoPhotos(open_instances("coco-train", root)).photo(0)

    def test_an_absent_training_set_says_where_to_get_it(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match=r"annotations_trainval2017\.zip"):
            open_instances("coco-train", tmp_path)

    def test_real_photos_have_the_masks_of_their_annotations(self, shared: Path) -> None:
        instances = open_instances("coco", shared / "samples")
        photos = CocoPhotos(instances)
        assert len(photos) + photos.without_objects == len(instances.images) == 50
        assert photos.without_objects >= 1
        labels = [label for index in range(len(photos)) for label in photos.photo(index).labels]
        objects = [one for info in instances.images for one in instances.annotations(info.id) if not one.iscrowd]
        assert [photos.category_ids[label - 1] for label in labels] == [one.category_id for one in objects]


class TestBatches:
    def batches(self, root: Path, seed: int = 0) -> DetectionBatches:
        photos = CocoPhotos(open_instances("coco-train", root))
        return DetectionBatches(photos, images=2, side=32, scale=(0.5, 1.5), seed=seed)

    def test_a_batch_depends_on_seed_and_step_alone(self, tmp_path: Path) -> None:
        root = lay_out(tmp_path)
        first, later = self.batches(root), self.batches(root)
        for step in range(3):
            first[step]
        np.testing.assert_array_equal(first[3]["images"], later[3]["images"])
        for one, other in zip(first[3]["targets"], later[3]["targets"], strict=True):
            assert all(np.array_equal(one[key], other[key]) for key in ("boxes", "labels", "masks"))
        assert not np.array_equal(first[3]["images"], self.batches(root, seed=1)[3]["images"])

    def test_boxes_are_tight_around_the_masks(self, tmp_path: Path) -> None:
        batches = self.batches(lay_out(tmp_path))
        targets = [target for step in range(8) for target in batches[step]["targets"]]
        assert sum(len(target["labels"]) for target in targets) > 8
        for target in targets:
            assert target["boxes"].shape == (len(target["labels"]), 4)
            for box, mask in zip(target["boxes"], target["masks"], strict=True):
                np.testing.assert_array_equal(box, tight_box_xyxy(mask))

    def test_an_epoch_shows_every_photo_once(self, tmp_path: Path) -> None:
        photos = CocoPhotos(open_instances("coco-train", lay_out(tmp_path)))
        batches = DetectionBatches(photos, images=1, side=32, scale=(1.0, 1.0), seed=0)
        for epoch in range(3):
            assert {int(batches[2 * epoch + k]["images"][0, 0, 0, 0]) for k in range(2)} == {1, 4}

    def test_fewer_photos_than_a_batch_wants_is_said(self, tmp_path: Path) -> None:
        photos = CocoPhotos(open_instances("coco-train", lay_out(tmp_path)))
        with pytest.raises(BenchError, match="3 images a micro-batch, but only 2 photos"):
            DetectionBatches(photos, images=3, side=32, scale=(1.0, 1.0), seed=0)


class TestDeadLeaves:
    @pytest.fixture(autouse=True)
    def cache(self, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Drawn into a cache of its own."""
        monkeypatch.setattr(training, "cache_dir", lambda: tmp_path_factory.getbasetemp() / "detection-scenes")

    def test_objects_masks_and_classes_are_those_of_the_rendered_annotation_file(self) -> None:
        scenes = detection_scenes(3)
        for index in range(3):
            scene, photo = draw_named_scene(DETECTION_SEED, index), scenes.photo(index)
            content = coco.content([list(scene.objects())], NAMES)
            written = content["annotations"]
            np.testing.assert_array_equal(photo.image, scene.image)
            assert photo.labels.tolist() == [one["category_id"] for one in written]
            assert photo.masks.sum(axis=(1, 2)).tolist() == [one["area"] for one in written]
            assert len(content["categories"]) == MICRO_CLASSES

    def test_no_scene_is_one_of_the_held_out_world_or_of_other_trainings(self) -> None:
        others = {render.VAL_SEED, training.TRAINING_SEED, imagenet.PRETRAINING_SEED, imagenet.TRAINING_SEED}
        others |= {imagenet.VAL_SEED, ade20k.VAL_SEED, ade20k.TRAINING_SEED}
        assert DETECTION_SEED != detection.VAL_SEED
        assert {DETECTION_SEED, detection.VAL_SEED}.isdisjoint(others)
