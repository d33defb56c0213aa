"""Render the held-out dead leaves as COCO and LVIS lay out their files, under the user's cache, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.dead_leaves import coco, lvis
from bench.data.dead_leaves.files import rendered, whole_or_not_at_all
from bench.data.dead_leaves.scene import Scene, draw_scene
from bench.progress import progress
from models.errors import BenchError

VAL_SEED = 3
"""World of the held-out scenes; the training scenes are another world (training.TRAINING_SEED)."""
VAL_IMAGES = 100
WORLD_SHA256 = "8d83e4444fc3eb44dc7c4f840dc25f864ba79e6fb87e2b82bb495e187f8816b1"
"""Hash of the held-out world's pixels and maps (`scenes_sha256`), the same on every machine."""

COCO_FILE, LVIS_FILE = "coco/annotations/instances_val2017.json", "lvis/annotations/lvis_v1_val.json"
RENDERINGS: dict[str, Callable[[list[Scene]], dict[str, Any]]] = {COCO_FILE: coco.instances, LVIS_FILE: lvis.instances}
"""Annotation files of the world; each data set is one function from scenes to its publisher's format."""


def world_root() -> Path:
    """Return the folder of the held-out world, rendering it first if it is not there (two seconds).

    Raises:
        BenchError: if this machine draws other pixels than the published hash says.
    """
    return rendered(f"val-{WORLD_SHA256[:12]}", render_world)


def render_world(root: Path) -> None:
    """Draw the held-out scenes and write images and annotation files under `root`, whole or not at all."""
    scenes = list(_held_out())
    check_published(scenes_sha256(scenes), WORLD_SHA256)
    write_world(root, [scene.image for scene in scenes], {name: make(scenes) for name, make in RENDERINGS.items()})


def write_world(root: Path, images: Sequence[np.ndarray], annotations: Mapping[str, dict[str, Any]]) -> None:
    """Write images uint8 [SIZE, SIZE, 3] and annotation files, by name, under `root`, whole or not at all."""
    with whole_or_not_at_all(root) as unfinished:
        folder = unfinished / "coco" / "val2017"
        folder.mkdir(parents=True)
        for index, image in enumerate(images):
            Image.fromarray(image).save(folder / coco.file_name(index), compress_level=1)
        for name, content in annotations.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content, separators=(",", ":")))


def check_published(found: str, published: str) -> None:
    """Raise a BenchError if what was drawn here has another hash than the published one."""
    if found != published:
        raise BenchError(
            f"the dead leaves drawn here hash to {found[:12]}, not {published[:12]}: this Python's numpy "
            "computes differently, please report the machine and numpy version"
        )


def scenes_sha256(scenes: list[Scene]) -> str:
    """Return the hash of scenes' pixels and instance maps."""
    digest = hashlib.sha256()
    for scene in scenes:
        for array in (scene.image, scene.leaf_map, scene.part_map):
            digest.update(array.tobytes())
    return digest.hexdigest()


def _held_out() -> Iterator[Scene]:
    with progress("drawing dead leaves", total=VAL_IMAGES, unit="scenes") as advance:
        for index in range(VAL_IMAGES):
            yield draw_scene(VAL_SEED, index)
            advance(1)
