"""The held-out world on disk: drawn once, whole or not at all, and readable as COCO and LVIS by their own tools."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lvis
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from bench.data import open_instances, read_rgb, verify
from bench.data.dead_leaves import SIZE, VAL_IMAGES, Scene, draw_scene, world_root
from bench.data.dead_leaves import crowded as render
from bench.data.dead_leaves.coco import PART_CATEGORY
from bench.data.dead_leaves.crowded import VAL_SEED, scenes_sha256
from bench.data.dead_leaves.lvis import NAMES, category_id
from bench.data.dead_leaves.shapes import SHAPE_NAMES
from models.errors import BenchError

FEW = 3
"""Scenes of the small worlds below."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The world, rendered into a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield world_root()


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(VAL_SEED, index) for index in range(VAL_IMAGES)]


@pytest.fixture(scope="module")
def coco(root: Path) -> COCO:
    return COCO(str(root / "coco/annotations/instances_val2017.json"))


@pytest.fixture(scope="module")
def federated(root: Path) -> lvis.LVIS:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "float", float, raising=False)  # lvis 0.5.3 was written for numpy 1.19
        return lvis.LVIS(str(root / "lvis/annotations/lvis_v1_val.json"))


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a world of a few scenes will be rendered; its hash is published."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(render, "VAL_IMAGES", FEW)
    digest = scenes_sha256([draw_scene(VAL_SEED, index) for index in range(FEW)])
    monkeypatch.setattr(render, "WORLD_SHA256", digest)
    return tmp_path / "dead_leaves" / f"val-{digest[:12]}"


def number_of(annotation: dict[str, Any]) -> int:
    """Return the object's number in its scene, 0 for a crowd."""
    return int(annotation["id"]) - 1000 * int(annotation["image_id"])


def present(scene: Scene) -> dict[int, list[int]]:
    """Return the LVIS categories of a scene's objects and the numbers of those objects."""
    by_category = defaultdict(list)
    for number in scene.objects():
        by_category[category_id(scene.leaves[number - 1])].append(number)
    return by_category


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


class TestRendering:
    def test_a_world_is_drawn_once(self, small_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert world_root() == small_world
        monkeypatch.setattr(render, "draw_scene", None)
        assert world_root() == small_world

    def test_it_holds_photos_and_both_annotation_files_and_nothing_is_left_beside_it(self, small_world: Path) -> None:
        world_root()
        photos = {f"coco/val2017/{index:012d}.png" for index in range(1, FEW + 1)}
        assert files(small_world) == photos | set(render.RENDERINGS)
        assert list(small_world.parent.iterdir()) == [small_world]

    def test_a_machine_that_draws_other_pixels_is_told_so(
        self, small_world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn = render.WORLD_SHA256
        monkeypatch.setattr(render, "WORLD_SHA256", "0" * 64)
        with pytest.raises(BenchError, match=f"hash to {drawn[:12]}, not 000000000000: .*report"):
            world_root()
        assert files(small_world.parents[1]) == set()

    def test_an_interrupted_rendering_is_no_world_and_is_done_again(
        self, small_world: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(scenes: list[Scene]) -> dict[str, Any]:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setitem(render.RENDERINGS, "lvis/annotations/lvis_v1_val.json", interrupt)
            with pytest.raises(KeyboardInterrupt):
                world_root()
        assert not small_world.exists()
        assert len(files(world_root())) == FEW + 2

    def test_a_process_that_was_faster_wins(self, small_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def overtaken(scenes: list[Scene]) -> dict[str, Any]:
            (small_world / "coco").mkdir(parents=True)
            (small_world / "coco" / "theirs").touch()
            return {}

        monkeypatch.setitem(render.RENDERINGS, "lvis/annotations/lvis_v1_val.json", overtaken)
        assert files(world_root()) == {"coco/theirs"}
        assert list(small_world.parent.iterdir()) == [small_world]

    def test_pixels_survive_the_image_files(self, root: Path, scenes: list[Scene]) -> None:
        for index in range(0, VAL_IMAGES, 9):
            image = read_rgb(root / "coco" / "val2017" / f"{index + 1:012d}.png")
            assert (image == scenes[index].image).all()


class TestCoco:
    def test_masks_areas_and_boxes_are_those_of_the_scenes(self, coco: COCO, scenes: list[Scene]) -> None:
        for annotation in coco.anns.values():
            scene, number = scenes[annotation["image_id"] - 1], number_of(annotation)
            swarm = [n for n, leaf in enumerate(scene.leaves, start=1) if leaf.crowd]
            mask = scene.mask(number) if number else np.isin(scene.leaf_map, swarm)
            assert (coco.annToMask(annotation).astype(bool) == mask).all()
            rows, columns = np.nonzero(mask)
            x, y = columns.min(), rows.min()
            assert annotation["bbox"] == [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
            assert annotation["area"] == mask.sum()

    def test_every_object_is_annotated_once(self, coco: COCO, scenes: list[Scene]) -> None:
        ids = [annotation["id"] for annotation in coco.dataset["annotations"]]
        assert len(set(ids)) == len(ids)
        for image_id, scene in enumerate(scenes, start=1):
            objects = coco.loadAnns(coco.getAnnIds(imgIds=image_id, iscrowd=False))
            assert [number_of(annotation) for annotation in objects] == scene.objects()

    def test_categories_are_shapes_and_parts(self, coco: COCO, scenes: list[Scene]) -> None:
        assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == [*SHAPE_NAMES, "part"]
        for annotation in coco.loadAnns(coco.getAnnIds(iscrowd=False)):
            leaf = scenes[annotation["image_id"] - 1].leaves[number_of(annotation) - 1]
            assert annotation["category_id"] == (PART_CATEGORY if leaf.parent else leaf.shape + 1)

    def test_a_swarm_is_one_crowd(self, coco: COCO, scenes: list[Scene]) -> None:
        swarms = [i for i, s in enumerate(scenes, start=1) if any(leaf.crowd for leaf in s.leaves)]
        crowds = coco.loadAnns(coco.getAnnIds(iscrowd=True))
        assert len(crowds) > 3
        assert set(Counter(c["image_id"] for c in crowds).values()) == {1}
        assert {c["image_id"] for c in crowds} <= set(swarms)  # a swarm may be covered

    def test_our_reader_finds_nothing_to_complain_about(self, root: Path, coco: COCO) -> None:
        instances = open_instances("coco", root)
        assert instances.problems == ()
        assert (len(instances.images), instances.n_annotations) == (VAL_IMAGES, len(coco.anns))
        assert {(image.height, image.width) for image in instances.images} == {(SIZE, SIZE)}
        assert verify("coco", root).ok


class TestLvis:
    def test_masks_and_categories_are_those_of_the_scenes(self, federated: lvis.LVIS, scenes: list[Scene]) -> None:
        for annotation in federated.anns.values():
            scene, number = scenes[annotation["image_id"] - 1], number_of(annotation)
            assert (federated.ann_to_mask(annotation).astype(bool) == scene.mask(number)).all()
            assert annotation["category_id"] == category_id(scene.leaves[number - 1])
            assert annotation["area"] == rle.area(annotation["segmentation"])
        ids = [annotation["id"] for annotation in federated.dataset["annotations"]]
        assert len(set(ids)) == len(ids) > 500

    def test_what_is_verified_to_be_absent_is_absent_and_not_annotated(
        self, federated: lvis.LVIS, scenes: list[Scene]
    ) -> None:
        for image_id, image in federated.imgs.items():
            absent = set(image["neg_category_ids"])
            assert absent
            assert not absent & set(present(scenes[image_id - 1]))
        known = sum(len(image["neg_category_ids"]) for image in federated.imgs.values())
        unseen = sum(len(NAMES) - len(present(scene)) for scene in scenes)
        assert known / unseen == pytest.approx(0.2, abs=0.02)  # of the rest nothing is known

    def test_an_annotated_category_is_annotated_whole_or_said_not_to_be(
        self, federated: lvis.LVIS, scenes: list[Scene]
    ) -> None:
        partial = 0
        for image_id, image in federated.imgs.items():
            annotated = defaultdict(list)
            for annotation in federated.img_ann_map[image_id]:
                annotated[annotation["category_id"]].append(number_of(annotation))
            there = present(scenes[image_id - 1])
            for category, numbers in annotated.items():
                whole = category not in image["not_exhaustive_category_ids"]
                assert set(numbers) == set(there[category]) if whole else set(numbers) < set(there[category])
            assert set(image["not_exhaustive_category_ids"]) <= set(annotated)
            partial += len(image["not_exhaustive_category_ids"])
        assert partial > 0

    def test_of_some_categories_that_are_there_nothing_is_known(
        self, federated: lvis.LVIS, scenes: list[Scene]
    ) -> None:
        there = {(i, c) for i, scene in enumerate(scenes, start=1) for c in present(scene)}
        annotated = {(a["image_id"], a["category_id"]) for a in federated.anns.values()}
        assert annotated < there
        assert len(annotated) / len(there) == pytest.approx(0.75, abs=0.05)

    def test_frequencies_follow_the_number_of_images(self, federated: lvis.LVIS) -> None:
        images, objects = defaultdict(set), Counter[int]()
        for annotation in federated.anns.values():
            images[annotation["category_id"]].add(annotation["image_id"])
            objects[annotation["category_id"]] += 1
        for id_, category in federated.cats.items():
            count = len(images[id_])
            assert (category["image_count"], category["instance_count"]) == (count, objects[id_])
            assert category["frequency"] == ("r" if count < 10 else "c" if count < 100 else "f")
        assert {category["frequency"] for category in federated.cats.values()} >= {"r", "c"}

    def test_categories_are_textures_of_shapes(self, federated: lvis.LVIS) -> None:
        assert [federated.cats[id_]["name"] for id_ in sorted(federated.cats)] == [
            name.replace(" ", "_") for name in NAMES
        ]

    def test_our_reader_finds_nothing_to_complain_about(self, root: Path, federated: lvis.LVIS) -> None:
        instances = open_instances("lvis", root)
        assert instances.problems == ()
        assert (len(instances.images), instances.n_annotations) == (VAL_IMAGES, len(federated.anns))
        assert all(image.path.is_file() for image in instances.images)
        image = instances.images[7]
        assert list(image.neg_category_ids) == federated.imgs[image.id]["neg_category_ids"]
        assert verify("lvis", root).ok

    def test_both_files_number_objects_alike(self, root: Path, coco: COCO, federated: lvis.LVIS) -> None:
        for id_, annotation in federated.anns.items():
            assert coco.anns[id_]["segmentation"] == annotation["segmentation"]


def test_the_files_are_plain_json_of_whole_numbers(root: Path) -> None:
    for name in render.RENDERINGS:
        content = json.loads((root / name).read_text())
        assert all(type(a["area"]) is int and set(map(type, a["bbox"])) == {int} for a in content["annotations"])
