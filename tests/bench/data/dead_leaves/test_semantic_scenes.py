"""Dead leaves as ADE20K: the same bytes everywhere, labels that are the leaves' textures."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bench.data.ade20k import IGNORED, open_ade20k
from bench.data.dead_leaves import ade20k, imagenet, training
from bench.data.dead_leaves import crowded as render
from bench.data.dead_leaves.ade20k import NAMES, draw_labelled_scene, labelled_scenes


def test_a_scene_is_the_same_to_the_byte() -> None:
    digest = hashlib.sha256()
    for index in range(3):
        image, labels = draw_labelled_scene(ade20k.VAL_SEED, index)
        digest.update(image.tobytes() + labels.tobytes())
    assert digest.hexdigest() == FIRST_THREE


FIRST_THREE = "ed7acae8f0530e6b0782c5b49886db67a42b3fe59c6b9102dac80fcd9cf90b47"


def test_labels_are_classes_ground_or_none() -> None:
    counts = sum(np.bincount(draw_labelled_scene(99, index)[1].ravel(), minlength=256) for index in range(40))
    assert (counts[: len(NAMES) + 1] > 0).all()
    assert counts[len(NAMES) + 1 :].sum() == 0
    assert counts[0] / counts.sum() < 0.03
    assert len(NAMES) == 5


def test_its_worlds_are_nobody_else_s() -> None:
    others = {render.VAL_SEED, training.TRAINING_SEED, imagenet.VAL_SEED, imagenet.TRAINING_SEED}
    others.add(imagenet.PRETRAINING_SEED)
    assert ade20k.TRAINING_SEED != ade20k.VAL_SEED
    assert {ade20k.TRAINING_SEED, ade20k.VAL_SEED}.isdisjoint(others)


def test_training_scenes_are_what_is_drawn(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(ade20k, "drawn_arrays", _in_this_process)
    scenes = labelled_scenes(2)
    image, classes = scenes[1]
    drawn, labels = draw_labelled_scene(ade20k.TRAINING_SEED, 1)
    np.testing.assert_array_equal(image, drawn)
    np.testing.assert_array_equal(classes == IGNORED, labels == 0)
    assert len(scenes) == 2


def _in_this_process(folder, count, draw, kinds):
    return [np.stack(arrays) for arrays in zip(*(draw(index) for index in range(count)), strict=True)]


def test_the_rendered_world_is_read_as_ade20k_is(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ade20k, "VAL_IMAGES", 3)
    monkeypatch.setattr(ade20k, "ADE20K_SHA256", FIRST_THREE)
    monkeypatch.setattr(ade20k, "drawn", lambda draw, count: map(draw, range(count)))
    ade20k.render_ade20k(tmp_path / "world")
    photos = open_ade20k(tmp_path / "world")
    assert photos.names == NAMES
    for index, (photo, classes) in enumerate(photos):
        image, labels = draw_labelled_scene(ade20k.VAL_SEED, index)
        np.testing.assert_array_equal(photo, image)
        np.testing.assert_array_equal(classes, labels - np.uint8(1))
