"""FastSAM's training sees every leaf and part of a scene, none of a swarm, with exact boxes and masks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bench.data.dead_leaves import SIZE, draw_scene
from bench.data.dead_leaves.fastsam import MASK_STRIDE, FastSamBatches, boxes_of, shares_of
from bench.data.dead_leaves.training import TRAINING_SEED, TrainingScenes, training_scenes

COUNT = 6


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingScenes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield training_scenes(COUNT)


def test_every_leaf_and_part_is_an_object_once(scenes: TrainingScenes) -> None:
    parts = 0
    for index in range(COUNT):
        scene = draw_scene(TRAINING_SEED, index)
        numbers = scene.objects()
        truth = np.stack([scene.mask(number) for number in numbers])
        np.testing.assert_array_equal(scenes.all_masks(index), truth)
        parts += sum(scene.leaves[number - 1].parent > 0 for number in numbers)
    assert parts > COUNT


def test_objects_belong_to_their_images(scenes: TrainingScenes) -> None:
    """In an epoch of one batch: the areas of each image's objects are those of one scene, which it shows."""
    batch = FastSamBatches(scenes, images=COUNT, seed=0)[0]
    cells = batch["masks"].sum((1, 2)) * MASK_STRIDE**2
    of_scene = {tuple(np.sort(scenes.all_masks(i).sum((1, 2)))): scenes.images[i] for i in range(COUNT)}
    for place in range(COUNT):
        image = of_scene[tuple(np.sort(cells[batch["image"] == place]))]
        assert np.sort(image.reshape(-1, 3), 0).tolist() == np.sort(batch["images"][place].reshape(3, -1).T, 0).tolist()


def test_masks_and_images_are_turned_alike(scenes: TrainingScenes) -> None:
    """Masks of a scene painted with its own leaf numbers are where the numbers are, whatever the turn."""
    numbered = np.repeat(scenes.maps[:, :1].transpose(0, 2, 3, 1), 3, axis=3)
    batches = FastSamBatches(TrainingScenes(numbered, scenes.maps, scenes.objects), images=2, seed=3)
    for step in range(8):
        batch = batches[step]
        for image, mask in zip(batch["image"], batch["masks"], strict=True):
            cells = batch["images"][image, 0].reshape(SIZE // MASK_STRIDE, MASK_STRIDE, -1, MASK_STRIDE)
            inside = cells.transpose(0, 2, 1, 3)[mask == 1]  # [n, 4, 4] wholly covered
            assert len(np.unique(inside)) <= 1


def test_boxes_hold_all_pixels_and_touch_the_outermost(scenes: TrainingScenes) -> None:
    masks = scenes.all_masks(0)
    for mask, (x, y, width, height) in zip(masks, boxes_of(masks).astype(float) * SIZE, strict=True):
        rows, columns = np.nonzero(mask)
        expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert [x - width / 2, y - height / 2, x + width / 2, y + height / 2] == expected


def test_a_value_of_a_mask_is_the_share_of_its_pixels(scenes: TrainingScenes) -> None:
    masks = scenes.all_masks(1)
    shares = shares_of(masks)
    for row, column in np.random.default_rng(0).integers(SIZE // MASK_STRIDE, size=(200, 2)):
        y, x = row * MASK_STRIDE, column * MASK_STRIDE
        pixels = masks[:, y : y + MASK_STRIDE, x : x + MASK_STRIDE]
        np.testing.assert_array_equal(shares[:, row, column], pixels.mean((1, 2)))
    np.testing.assert_array_equal(shares.sum((1, 2)) * MASK_STRIDE**2, masks.sum((1, 2)))


def test_a_batch_depends_on_seed_and_step_alone(scenes: TrainingScenes) -> None:
    visited = FastSamBatches(scenes, images=2, seed=0)
    for step in (2, 0, 5, 2):
        fresh, again = FastSamBatches(scenes, images=2, seed=0)[step], visited[step]
        assert all((fresh[name] == again[name]).all() for name in fresh)
    other = FastSamBatches(scenes, images=2, seed=1)[2]
    assert other["images"].tobytes() != visited[2]["images"].tobytes()
