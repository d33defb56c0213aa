"""Dead leaves as ImageNet: the class is what the leaf in the middle shows, and every image is drawn once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.dead_leaves import SIZE, imagenet, training
from bench.data.dead_leaves import files as drawing
from bench.data.dead_leaves.imagenet import (
    CLASSES,
    CONTRAST,
    IMAGENET_SHA256,
    LABELLED,
    SLANT,
    UNLABELLED,
    VAL_IMAGES,
    VAL_SEED,
    WNIDS,
    draw_object_scene,
    imagenet_root,
    labelled_images,
    unlabelled_images,
)
from bench.data.dead_leaves.scene import Canvas, Paint, Placement
from bench.data.dead_leaves.shapes import SHAPE_NAMES, TEXTURE_NAMES
from bench.data.imagenet import open_imagenet
from bench.draws import Draws
from models.errors import BenchError

ROOT = Path(__file__).resolve().parents[4]
DRAW = """
import hashlib
from bench.data.dead_leaves.imagenet import draw_object_scene
print(hashlib.sha256(b"".join(draw_object_scene(12, index)[0].tobytes() for index in (0, 6, 9, 15))).hexdigest())
"""
FEW = 34
"""Images of the small worlds below: each class, and two of them twice."""


def objects_sha256(images: Iterable[tuple[np.ndarray, int]]) -> str:
    digest = hashlib.sha256()
    for image, label in images:
        digest.update(image.tobytes() + bytes([label]))
    return digest.hexdigest()


@pytest.fixture(scope="module")
def images() -> list[tuple[np.ndarray, int]]:
    return [draw_object_scene(VAL_SEED, index) for index in range(FEW)]


@pytest.fixture(scope="module")
def dominant() -> list[tuple[str, Placement, Paint]]:
    """Shape, place and paint of the leaf that was painted last in each of some images."""
    found = []
    add = Canvas.add

    def noted(canvas: Canvas, draws: Draws, place: Placement, shape: int, **rest: Any) -> int:
        number = add(canvas, draws, place, shape, **rest)
        if "paint" in rest:
            assert (canvas.leaf_map == number).sum() > SIZE * SIZE / 40
            found.append((SHAPE_NAMES[shape], place, rest["paint"]))
        return number

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Canvas, "add", noted)
        for index in range(FEW):
            draw_object_scene(VAL_SEED, index)
    return found


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: list[tuple[np.ndarray, int]]) -> Path:
    """Where a world of a few images, drawn before, will be rendered; its hash is published."""
    digest = objects_sha256(images)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(imagenet, "VAL_IMAGES", FEW)
    monkeypatch.setattr(imagenet, "IMAGENET_SHA256", digest)
    monkeypatch.setattr(imagenet, "drawn", lambda draw, count: iter(images[:count]))
    return tmp_path / "dead_leaves" / f"imagenet-{digest[:12]}"


def test_an_image_is_the_same_bytes_on_a_cpu_without_extensions() -> None:
    package = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    umath = import_module(f"{package}._multiarray_umath")
    used = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(used)}
    run = subprocess.run(
        [sys.executable, "-c", DRAW], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    here = b"".join(draw_object_scene(VAL_SEED, index)[0].tobytes() for index in (0, 6, 9, 15))
    assert run.stderr == ""  # numpy warns here about a feature that it could not turn off
    assert run.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_the_published_images_are_the_drawn_ones(images: list[tuple[np.ndarray, int]]) -> None:
    assert objects_sha256(images) == "456706567f453a12c9e5622a1d7b687b1bac20fea4038772afb6f577b5a137af"


def test_an_image_depends_on_its_seed_and_index_alone(images: list[tuple[np.ndarray, int]]) -> None:
    again, label = draw_object_scene(VAL_SEED, 5)
    assert (again == images[5][0]).all()
    assert label == images[5][1]
    assert len({image.tobytes() for image, _ in images}) == FEW
    assert (draw_object_scene(imagenet.TRAINING_SEED, 5)[0] != images[5][0]).any()
    assert (again.shape, again.dtype) == ((SIZE, SIZE, 3), np.uint8)


def test_the_leaf_painted_last_has_the_shape_and_texture_of_the_label(dominant: list) -> None:
    shown = [(shape, TEXTURE_NAMES[paint.texture]) for shape, _, paint in dominant]
    assert shown == [CLASSES[index % len(CLASSES)] for index in range(len(dominant))]
    assert len(set(CLASSES)) == 16


def test_the_dominant_leaf_is_large_upright_and_in_the_middle(dominant: list) -> None:
    for _, place, _ in dominant:
        assert 80 <= place.radius <= 115
        assert max(abs(place.x - SIZE / 2), abs(place.y - SIZE / 2)) <= LABELLED.off_centre
        assert abs(place.direction[1]) <= SLANT * place.direction[0]
        assert np.hypot(*place.direction) == pytest.approx(1)
    spread = np.std([(place.x, place.y) for _, place, _ in dominant], axis=0)
    assert (spread > LABELLED.off_centre / 3).all()
    assert np.std([place.direction[1] for _, place, _ in dominant]) > SLANT / 3


def test_the_two_colours_of_the_dominant_leaf_differ_visibly(dominant: list) -> None:
    for _, _, paint in dominant:
        assert np.abs(paint.first - paint.second).mean() >= CONTRAST
        assert min(paint.first.min(), paint.second.min()) >= 0
        assert max(paint.first.max(), paint.second.max()) * 1.3 < 262


def test_classes_take_turns_so_that_the_held_out_images_have_a_hundred_of_each() -> None:
    labels = np.arange(VAL_IMAGES) % len(CLASSES)
    assert set(Counter(labels.tolist()).values()) == {100}
    assert [label for _, label in starmap(draw_object_scene, ((VAL_SEED, 15), (VAL_SEED, 16)))] == [15, 0]


def test_unlabelled_images_have_leaves_of_every_shape_turned_every_way() -> None:
    shapes, directions = [], []
    add = Canvas.add

    def noted(canvas: Canvas, draws: Draws, place: Placement, shape: int, **rest: Any) -> int:
        if "paint" in rest:
            shapes.append(SHAPE_NAMES[shape])
            directions.append(place.direction)
        return add(canvas, draws, place, shape, **rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Canvas, "add", noted)
        for index in range(32):
            draw_object_scene(imagenet.PRETRAINING_SEED, index, UNLABELLED)
    assert Counter(shapes) == dict.fromkeys(SHAPE_NAMES, 4)
    assert min(x for x, _ in directions) < -0.5


def test_sorted_folders_are_in_the_order_of_the_labels() -> None:
    assert sorted(WNIDS) == list(WNIDS)
    assert WNIDS[11] == "l00000011_star_dots"


def test_the_world_is_laid_out_as_imagenet_and_holds_the_drawn_pixels(
    small_world: Path, images: list[tuple[np.ndarray, int]]
) -> None:
    photos = open_imagenet(imagenet_root())
    assert (len(photos), photos.wnids) == (FEW, WNIDS)
    for number, (path, label) in enumerate(zip(photos.paths, photos.labels, strict=True)):
        image, drawn_label = images[int(path.stem)]
        assert label == drawn_label
        assert (photos[number] == image).all()
    assert list(small_world.parent.iterdir()) == [small_world]


def test_the_world_is_drawn_from_its_seed(images: list[tuple[np.ndarray, int]]) -> None:
    image, label = draw_object_scene(imagenet.VAL_SEED, 5)
    assert (image == images[5][0]).all()
    assert label == images[5][1]


def test_the_world_is_drawn_once(small_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert imagenet_root() == small_world
    monkeypatch.setattr(imagenet, "drawn", None)
    assert imagenet_root() == small_world


def test_a_machine_that_draws_other_pixels_is_told_so_and_nothing_is_left(
    small_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "IMAGENET_SHA256", IMAGENET_SHA256)
    with pytest.raises(BenchError, match=f"hash to .*, not {IMAGENET_SHA256[:12]}: .*report"):
        imagenet_root()
    assert list(small_world.parent.iterdir()) == []


class TestTraining:
    @pytest.fixture(autouse=True)
    def _cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BENCH_CACHE", str(tmp_path))

    def test_images_and_labels_are_those_of_the_training_world(self) -> None:
        scenes = labelled_images(3)
        for index in range(3):
            image, label = draw_object_scene(imagenet.TRAINING_SEED, index)
            assert (scenes.images[index] == image).all()
            assert scenes.labels[index] == label
        assert (scenes.images.dtype, scenes.labels.dtype) == (np.uint8, np.int64)
        assert scenes.labels.shape == (3,)

    def test_unlabelled_images_are_those_of_the_pretraining_world(self) -> None:
        images = unlabelled_images(2)
        assert (images[1] == draw_object_scene(imagenet.PRETRAINING_SEED, 1, UNLABELLED)[0]).all()
        assert images.shape == (2, SIZE, SIZE, 3)

    def test_images_are_drawn_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = labelled_images(2)
        monkeypatch.setattr(training, "drawn", None)
        assert (labelled_images(2).images == first.images).all()

    def test_images_of_another_version_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        labelled_images(2)
        monkeypatch.setattr(imagenet, "TRAINING_SEED", 99)
        with pytest.raises(BenchError, match=r"imagenet-labelled-2 was drawn by another version .*: remove it"):
            labelled_images(2)

    def test_other_processes_draw_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: 1)
        monkeypatch.setattr(drawing, "_AT_ONCE", 1)
        scenes = labelled_images(2)
        assert (scenes.images[1] == draw_object_scene(imagenet.TRAINING_SEED, 1)[0]).all()
