"""Dead leaves with a salient one: the same bytes everywhere, and a mask that is the leaf."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bench.data.dead_leaves import ade20k, detection, imagenet, salient, training
from bench.data.dead_leaves import crowded as render
from bench.data.dead_leaves.salient import SalientBatches, SalientScenes, draw_salient_scene, salient_scenes
from bench.data.salient import open_salient
from models.errors import BenchError

FIRST_THREE = "e74bef3c64392ffce192bfafffa804524e01088bfd55b6526dbeafa5f0e43beb"


def test_a_scene_is_the_same_to_the_byte() -> None:
    digest = hashlib.sha256()
    for index in range(3):
        image, mask = draw_salient_scene(salient.VAL_SEED, index)
        digest.update(image.tobytes() + np.packbits(mask).tobytes())
    assert digest.hexdigest() == FIRST_THREE


def test_the_salient_leaf_is_mostly_larger_than_any_other_can_be_and_near_the_middle() -> None:
    largest_other = np.pi * salient.OTHER_RADII[1] ** 2 / salient.SIZE**2
    shares, places = [], []
    for index in range(40):
        _, mask = draw_salient_scene(99, index)
        shares.append(mask.mean())
        places.append(np.argwhere(mask).mean(0) - salient.SIZE / 2)
    assert 0.01 < min(shares) < max(shares) < 0.5
    assert np.median(shares) > largest_other
    assert np.abs(places).max() < salient.OFF_CENTRE + 0.3 * salient.RADII[1]


def test_its_worlds_are_nobody_else_s() -> None:
    others = {render.VAL_SEED, training.TRAINING_SEED, imagenet.VAL_SEED, imagenet.TRAINING_SEED}
    others |= {imagenet.PRETRAINING_SEED, ade20k.TRAINING_SEED, ade20k.VAL_SEED, detection.DETECTION_SEED}
    assert salient.TRAINING_SEED != salient.VAL_SEED
    assert {salient.TRAINING_SEED, salient.VAL_SEED}.isdisjoint(others)


def test_the_rendered_world_is_read_as_it_was_drawn(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salient, "VAL_IMAGES", 3)
    monkeypatch.setattr(salient, "SALIENT_SHA256", FIRST_THREE)
    monkeypatch.setattr(salient, "drawn", lambda draw, count: map(draw, range(count)))
    salient.render_salient(tmp_path / "world")
    photos = open_salient(tmp_path / "world")
    assert photos.name == "salient"
    for index, (photo, mask) in enumerate(photos):
        image, leaf = draw_salient_scene(salient.VAL_SEED, index)
        np.testing.assert_array_equal(photo, image)
        np.testing.assert_array_equal(mask, leaf)


def test_training_scenes_are_what_is_drawn(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(salient, "drawn_arrays", _in_this_process)
    scenes = salient_scenes(2)
    image, leaf = draw_salient_scene(salient.TRAINING_SEED, 1)
    np.testing.assert_array_equal(scenes.images[1], image)
    np.testing.assert_array_equal(scenes.masks[1], leaf)


def _in_this_process(folder, count, draw, kinds):
    return [np.stack(arrays) for arrays in zip(*(draw(index) for index in range(count)), strict=True)]


@pytest.fixture
def numbered() -> SalientScenes:
    """Ten images whose pixels, and masks, tell their number."""
    images = np.zeros((10, 4, 4, 3), np.uint8) + np.arange(10, dtype=np.uint8)[:, None, None, None]
    masks = np.zeros((10, 4, 4), bool)
    masks[np.arange(10), 0, np.arange(10) % 4] = True
    images[np.arange(10), 0, np.arange(10) % 4] += 100
    return SalientScenes(images, masks)


def test_a_batch_depends_on_seed_and_step_alone_and_an_epoch_shows_all(numbered: SalientScenes) -> None:
    batches = SalientBatches(numbered, images=3, seed=0)
    later = batches[5]
    for name, array in SalientBatches(numbered, images=3, seed=0)[5].items():
        np.testing.assert_array_equal(array, later[name])  # type: ignore[literal-required]
    shown = [int(image.min()) for step in range(3) for image in batches[step]["images"]]
    assert len(set(shown)) == 9
    assert any((SalientBatches(numbered, images=3, seed=1)[0]["images"] != batches[0]["images"]).ravel())


def test_an_image_and_its_mask_are_turned_together(numbered: SalientScenes) -> None:
    for step in range(6):
        batch = SalientBatches(numbered, images=5, seed=0)[step]
        np.testing.assert_array_equal(batch["images"][:, 0] >= 100, batch["masks"])


def test_a_batch_of_more_images_than_there_are_is_refused(numbered: SalientScenes) -> None:
    with pytest.raises(BenchError, match="a batch of 11 needs as many images, there are 10"):
        SalientBatches(numbered, images=11, seed=0)
