"""A scene is the same bytes on every CPU, and its maps say who covers whom."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from bench.data.dead_leaves import SIZE, Scene, draw_scene
from bench.data.dead_leaves.crowded import VAL_SEED, scenes_sha256
from bench.data.dead_leaves.scene import LEAVES, SMALLEST_VISIBLE
from bench.data.dead_leaves.shapes import SHAPE_NAMES, SHAPES, TEXTURE_NAMES, TEXTURES
from bench.data.dead_leaves.training import TRAINING_SEED

ROOT = Path(__file__).resolve().parents[4]
DRAW = """
from bench.data.dead_leaves import draw_scene
from bench.data.dead_leaves.crowded import scenes_sha256
print(scenes_sha256([draw_scene(1, 0), draw_scene(2, 0), draw_scene(2, 7), draw_scene(2, 11)]))
"""
GOLDEN = "064ea04504a544c59b6b0c546ffd91f6aa042da711211bdd01d7284514707586"


def used_cpu_features() -> list[str]:
    """Return what numpy dispatches to on this CPU, the most basic first, all of which can be turned off."""
    package = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    umath = import_module(f"{package}._multiarray_umath")
    return [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]


FEATURES = used_cpu_features()


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(VAL_SEED, index) for index in range(60)]


@pytest.mark.parametrize("kept", range(len(FEATURES) + 1))
def test_a_scene_is_the_same_bytes_on_lesser_cpus(kept: int) -> None:
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(FEATURES[kept:])}
    environment["OMP_NUM_THREADS"] = str(1 + kept % 2)
    run = subprocess.run(
        [sys.executable, "-c", DRAW], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stderr == ""  # numpy warns here about a feature that it could not turn off
    assert run.stdout.strip() == GOLDEN


def test_a_scene_depends_on_its_seed_and_index_alone(scenes: list[Scene]) -> None:
    assert scenes_sha256([draw_scene(VAL_SEED, 5)]) == scenes_sha256([scenes[5]])
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)
    assert scenes_sha256([draw_scene(TRAINING_SEED, 5)]) != scenes_sha256([scenes[5]])


def test_a_scene_is_an_image_and_two_maps(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.shape == (SIZE, SIZE, 3)
        assert scene.leaf_map.shape == scene.part_map.shape == (SIZE, SIZE)
        assert scene.image.dtype == scene.leaf_map.dtype == scene.part_map.dtype == np.uint8
        assert LEAVES[0] <= len([leaf for leaf in scene.leaves if not leaf.parent and not leaf.crowd]) < LEAVES[1]


def test_parts_lie_on_the_leaf_that_carries_them(scenes: list[Scene]) -> None:
    for scene in scenes:
        parents = np.array([0, *(leaf.parent for leaf in scene.leaves)])
        on_a_part = scene.part_map > 0
        assert (scene.leaf_map[on_a_part] == parents[scene.part_map[on_a_part]]).all()
        assert all(leaf.parent < number for number, leaf in enumerate(scene.leaves, start=1))


def test_the_leaf_map_knows_no_parts_and_the_part_map_no_leaves(scenes: list[Scene]) -> None:
    for scene in scenes:
        parts = {number for number, leaf in enumerate(scene.leaves, start=1) if leaf.parent}
        leaves = set(range(1, len(scene.leaves) + 1)) - parts
        assert set(np.unique(scene.leaf_map)) <= leaves | {0}
        assert set(np.unique(scene.part_map)) <= parts | {0}


def test_objects_are_all_that_is_large_enough_and_no_swarm(scenes: list[Scene]) -> None:
    for scene in scenes:
        large = [n for n in range(1, len(scene.leaves) + 1) if scene.mask(n).sum() >= SMALLEST_VISIBLE]
        assert scene.objects() == [n for n in large if not scene.leaves[n - 1].crowd]


def test_a_leaf_includes_its_parts(scenes: list[Scene]) -> None:
    carried = [
        (scene.mask(number), scene.mask(leaf.parent))
        for scene in scenes
        for number, leaf in enumerate(scene.leaves, start=1)
        if leaf.parent
    ]
    assert len(carried) > 100
    assert not any((part & ~leaf).any() for part, leaf in carried)


def test_later_leaves_cover_earlier_ones(scenes: list[Scene]) -> None:
    """The last leaf is whole: nothing but its own parts was painted after it."""
    for scene in scenes:
        last = max(number for number, leaf in enumerate(scene.leaves, start=1) if not leaf.parent)
        covered = scene.mask(last)
        assert covered.any()
        assert set(np.unique(scene.part_map[covered])) <= {0, *range(last + 1, len(scene.leaves) + 1)}


def test_the_world_has_every_shape_texture_and_difficulty(scenes: list[Scene]) -> None:
    leaves = [leaf for scene in scenes for leaf in scene.leaves]
    assert {leaf.shape for leaf in leaves} == set(range(len(SHAPE_NAMES)))
    assert {leaf.texture for leaf in leaves} == set(range(len(TEXTURE_NAMES)))
    assert 0 < sum(any(leaf.crowd for leaf in scene.leaves) for scene in scenes) < len(scenes) / 4
    visible = [len(scene.objects()) for scene in scenes]
    assert min(visible) >= 1
    assert 8 < np.mean(visible) < 25


def test_pixels_show_what_the_map_says(scenes: list[Scene]) -> None:
    """Colours vary less within leaves than over the image, or there would be nothing to see."""
    for scene in scenes[:20]:
        image = scene.image.astype(float)
        regions = scene.leaf_map.astype(int) * 256 + scene.part_map
        within = sum(image[regions == r].var(axis=0).sum() * (regions == r).mean() for r in np.unique(regions))
        assert within < 0.8 * image.var(axis=(0, 1)).sum()


@pytest.mark.parametrize("name", SHAPE_NAMES)
def test_a_shape_fills_its_square_but_does_not_leave_it(name: str) -> None:
    v, u = np.mgrid[-1.5:1.5:301j, -1.5:1.5:301j]
    inside = SHAPES[name](u, v)
    assert 0.3 < inside.mean() * 9 < 3.2  # area in units of the radius squared; the whole disc has pi
    assert not inside[np.maximum(np.abs(u), np.abs(v)) > 1.01].any()


@pytest.mark.parametrize("name", TEXTURE_NAMES)
def test_a_texture_mixes_two_colours(name: str) -> None:
    v, u = np.mgrid[-9.03:9:97j, -9.03:9:97j]
    mixture = np.asarray(TEXTURES[name](u, v), dtype=float)
    assert ((mixture >= 0) & (mixture <= 1)).all()
    assert (mixture.std() > 0.2) == (name != "plain")
