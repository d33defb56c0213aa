"""Training batches depend on the seed and the step alone, and their masks are objects of their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.data.dead_leaves import SIZE, draw_scene, training
from bench.data.dead_leaves.scene import SMALLEST_VISIBLE
from bench.data.dead_leaves.training import TRAINING_SEED, MaskBatches, TrainingScenes, training_scenes
from bench.paths import cache_dir
from models.errors import BenchError

COUNT = 16


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingScenes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield training_scenes(COUNT)


def batches(scenes: TrainingScenes, *, images: int = 4, masks: int = 6, seed: int = 0) -> MaskBatches:
    return MaskBatches(scenes, images=images, masks=masks, seed=seed)


def symmetries(maps: np.ndarray) -> list[np.ndarray]:
    """Return maps [..., S, S] in the eight symmetries of a square."""
    turned = [np.rot90(maps, k, axes=(-2, -1)) for k in range(4)]
    return turned + [maps[..., ::-1] for maps in turned]


def scene_and_turn(scenes: TrainingScenes, images: np.ndarray) -> list[tuple[int, int]]:
    """Tell which scenes a batch of images [B, 3, SIZE, SIZE] shows, and in which of the eight symmetries."""
    known = {
        turned.tobytes(): (number, turn)
        for number, scene in enumerate(scenes.images)
        for turn, turned in enumerate(symmetries(scene.transpose(2, 0, 1)))
    }
    return [known[image.tobytes()] for image in images]


def scene_numbers(scenes: TrainingScenes, images: np.ndarray) -> list[int]:
    """Tell which scenes a batch of images shows."""
    return [number for number, _ in scene_and_turn(scenes, images)]


def test_scenes_are_those_of_the_training_world(scenes: TrainingScenes) -> None:
    for index in (0, 7, COUNT - 1):
        scene = draw_scene(TRAINING_SEED, index)
        assert (scenes.images[index] == scene.image).all()
        assert (scenes.maps[index] == [scene.leaf_map, scene.part_map]).all()
        assert sorted(abs(scenes.objects[index]))[-len(scene.objects()) :] == scene.objects()


def test_scenes_are_drawn_once(scenes: TrainingScenes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_draw_all", None)
    assert (training_scenes(COUNT).images == scenes.images).all()
    assert [path.name for path in (cache_dir() / "dead_leaves").iterdir()] == [f"train-{COUNT}"]


def test_an_interrupted_drawing_is_no_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(training, "_draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        training_scenes(2)
    assert not (tmp_path / "dead_leaves" / "train-2").exists()


def test_scenes_of_another_version_are_refused(scenes: TrainingScenes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TRAINING_SEED", TRAINING_SEED + 10)
    with pytest.raises(BenchError, match=rf"train-{COUNT} was drawn by another version .*: remove it"):
        training_scenes(COUNT)


def test_a_process_that_was_faster_wins(tmp_path: Path) -> None:
    place = tmp_path / "train-2"

    def draw(index: int) -> tuple[np.ndarray, ...]:
        place.mkdir(exist_ok=True)
        (place / "theirs").touch()
        return training._draw(index)

    training._draw_all(place, 2, draw, training._ARRAYS)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["train-2", "train-2/theirs"]


def test_a_batch_depends_on_seed_and_step_alone(scenes: TrainingScenes) -> None:
    visited = batches(scenes)
    for step in (3, 0, 9, 3):
        fresh, again = batches(scenes)[step], visited[step]
        assert (fresh["images"] == again["images"]).all()
        assert (fresh["masks"] == again["masks"]).all()


def test_other_steps_and_seeds_are_other_batches(scenes: TrainingScenes) -> None:
    seen = {batches(scenes, seed=seed)[step]["masks"].tobytes() for seed in range(3) for step in range(COUNT // 4)}
    assert len(seen) == 3 * COUNT // 4


def test_an_epoch_shows_every_scene_once_and_the_next_one_in_another_order(scenes: TrainingScenes) -> None:
    per_epoch = COUNT // 4
    epochs = [
        [n for step in range(per_epoch) for n in scene_numbers(scenes, batches(scenes)[at + step]["images"])]
        for at in (0, per_epoch)
    ]
    assert [sorted(epoch) for epoch in epochs] == [list(range(COUNT))] * 2
    assert epochs[0] != epochs[1]


def test_scenes_are_seen_turned_and_mirrored(scenes: TrainingScenes) -> None:
    turns = {turn for step in range(2 * COUNT) for _, turn in scene_and_turn(scenes, batches(scenes)[step]["images"])}
    assert turns == set(range(8))


def test_the_first_scenes_are_the_first_scenes(scenes: TrainingScenes) -> None:
    few = scenes.first(3)
    assert len(few.images) == len(few.maps) == len(few.objects) == 3
    assert (few.images == scenes.images[:3]).all()


def test_arrays_are_as_the_network_wants_them(scenes: TrainingScenes) -> None:
    batch = batches(scenes, images=2, masks=5)[0]
    assert batch["images"].shape == (2, 3, SIZE, SIZE)
    assert batch["images"].dtype == np.uint8
    assert batch["images"].flags.c_contiguous
    assert batch["masks"].shape == (2, 5, SIZE, SIZE)
    assert batch["masks"].dtype == np.bool_


def test_masks_are_objects_of_their_image(scenes: TrainingScenes) -> None:
    for step in range(COUNT // 4):
        batch = batches(scenes)[step]
        for (number, turn), masks in zip(scene_and_turn(scenes, batch["images"]), batch["masks"], strict=True):
            scene = draw_scene(TRAINING_SEED, number)
            objects = {symmetries(scene.mask(n))[turn].tobytes() for n in scene.objects()}
            assert {mask.tobytes() for mask in masks} <= objects
            assert masks.sum(axis=(1, 2)).min() >= SMALLEST_VISIBLE


@pytest.mark.parametrize("count", [1, 5, 40])
def test_masks_repeat_only_where_objects_are_too_few(scenes: TrainingScenes, count: int) -> None:
    for number in range(COUNT):
        masks = scenes.masks(number, np.random.default_rng(number), count)
        there = int((scenes.objects[number] != 0).sum())
        repeats = Counter(mask.tobytes() for mask in masks)
        assert len(masks) == count
        assert max(repeats.values()) == 1 or count > there
