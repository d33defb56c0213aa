"""Dead leaves as SA-1B: tars of photos, each with the masks of all leaves and parts, without classes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.data.dead_leaves import coco
from bench.data.dead_leaves.scene import SIZE, Scene, draw_scene
from bench.data.dead_leaves.training import TRAINING_SEED
from models.errors import BenchError

JPEG_QUALITY = 95


def write_sa1b_tars(scenes: Iterable[Scene] | int, folder: Path, per_tar: int) -> list[Path]:
    """Write scenes into tars as SA-1B is published, sa_1.jpg beside sa_1.json, and return their paths.

    Args:
        scenes: scenes, or how many of the training world's.
        folder: made if it is not there; tars of the same names are replaced.
        per_tar: scenes in each tar but the last.

    Raises:
        BenchError: if a tar should hold no scene.
    """
    if per_tar < 1:
        raise BenchError(f"a tar must hold at least 1 scene, got {per_tar}")
    if isinstance(scenes, int):
        scenes = (draw_scene(TRAINING_SEED, index) for index in range(scenes))
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    batch: list[tuple[int, Scene]] = []
    for number, scene in enumerate(scenes, start=1):
        batch.append((number, scene))
        if len(batch) == per_tar:
            paths.append(_write_tar(folder, len(paths), batch))
            batch = []
    return [*paths, _write_tar(folder, len(paths), batch)] if batch else paths


def _write_tar(folder: Path, number: int, scenes: list[tuple[int, Scene]]) -> Path:
    path = folder / f"sa_{number:06d}.tar"
    unfinished = path.with_suffix(".part")
    try:
        with tarfile.open(unfinished, "w") as archive:
            for image_id, scene in scenes:
                photo = io.BytesIO()
                Image.fromarray(scene.image).save(photo, "JPEG", quality=JPEG_QUALITY)
                _add(archive, f"sa_{image_id}.jpg", photo.getvalue())
                _add(archive, f"sa_{image_id}.json", json.dumps(_content(scene, image_id)).encode())
        return unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _content(scene: Scene, image_id: int) -> dict[str, Any]:
    """Return the content of sa_N.json."""
    image = {"image_id": image_id, "width": SIZE, "height": SIZE, "file_name": f"sa_{image_id}.jpg"}
    return {"image": image, "annotations": [_annotation(scene, image_id, number) for number in scene.objects()]}


def _annotation(scene: Scene, image_id: int, number: int) -> dict[str, Any]:
    """Return one mask; it is exact, so both of its scores are 1, and it came from a click on its middle pixel."""
    mask = scene.mask(number)
    full = coco.annotation(coco.Named(number, 0, mask), image_id)
    rows, columns = np.nonzero(mask)
    x, y = (float(values[len(values) // 2]) for values in (columns, rows))
    return {
        **{key: full[key] for key in ("id", "segmentation", "bbox", "area")},
        "predicted_iou": 1.0,
        "stability_score": 1.0,
        "point_coords": [[x, y]],
        "crop_box": [0, 0, SIZE, SIZE],
    }
