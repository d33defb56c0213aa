"""Dead leaves to detect: the same bytes everywhere, and COCO and LVIS files that say what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.data import open_instances, read_rgb, verify
from bench.data.dead_leaves import detection
from bench.data.dead_leaves.detection import NAMES, VAL_IMAGES, VAL_SEED, detection_root, draw_named_scene
from bench.data.dead_leaves.scene import SMALLEST_VISIBLE
from models.errors import BenchError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory):
    """The held-out world, whose hash is checked as it is rendered into a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield detection_root()


def test_coco_says_exactly_what_was_drawn(root: Path) -> None:
    instances = open_instances("coco", root)
    assert len(instances.images) == VAL_IMAGES
    assert list(instances.categories.values()) == list(NAMES)
    for info in instances.images[:5]:
        scene = draw_named_scene(VAL_SEED, info.id - 1)
        np.testing.assert_array_equal(read_rgb(info.path), scene.image)
        drawn = {one.number: one for one in scene.objects()}
        annotations = instances.annotations(info.id)
        assert len(annotations) == len(drawn) > 0
        for annotation in annotations:
            one = drawn[annotation.id - 1000 * info.id]
            assert annotation.category_id == one.category_id
            np.testing.assert_array_equal(annotation.mask(info.height, info.width), one.mask)


def test_every_class_is_there_often_enough_to_be_scored(root: Path) -> None:
    instances = open_instances("coco", root)
    counts = np.zeros(len(NAMES) + 1, int)
    for info in instances.images:
        np.add.at(counts, [one.category_id for one in instances.annotations(info.id)], 1)
    assert counts[0] == 0
    assert counts[1:].min() >= VAL_IMAGES


def test_objects_come_in_all_three_sizes_and_none_is_a_sliver(root: Path) -> None:
    instances = open_instances("coco", root)
    areas = np.array([one.area for info in instances.images for one in instances.annotations(info.id)])
    assert areas.min() >= SMALLEST_VISIBLE
    shares = [(areas < 32**2).mean(), ((areas >= 32**2) & (areas < 96**2)).mean(), (areas >= 96**2).mean()]
    assert min(shares) > 0.05


def test_lvis_has_a_part_of_the_same_objects_under_the_same_categories(root: Path) -> None:
    coco, lvis = open_instances("coco", root), open_instances("lvis", root)
    assert list(lvis.categories) == list(coco.categories)
    whole = {one.id: one.category_id for info in coco.images for one in coco.annotations(info.id)}
    part = {one.id: one.category_id for info in lvis.images for one in lvis.annotations(info.id)}
    assert 0.5 * len(whole) < len(part) < len(whole)
    assert part.items() <= whole.items()


def test_it_is_usable_as_both_data_sets(root: Path) -> None:
    assert verify("coco", root).ok
    assert verify("lvis", root).ok


def test_a_machine_that_draws_other_pixels_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "VAL_IMAGES", 2)
    monkeypatch.setattr(detection, "drawn", lambda draw, count: map(draw, range(count)))
    with pytest.raises(BenchError, match="the dead leaves drawn here hash to"):
        detection.render_detection(tmp_path / "world")
    assert not list(tmp_path.iterdir())
