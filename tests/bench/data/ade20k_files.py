"""A toy ADE20K on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.dead_leaves.ade20k import draw_labelled_scene


def write_ade20k(
    root: Path, pairs, *, names: tuple[str, ...] | None = ("tree", "sky", "house"), split: str = "validation"
) -> Path:
    """Write (photo uint8 [H, W, 3], labels uint8 [h, w]) pairs in the published layout and return the root."""
    top = root / "ade20k"
    images, annotations = top / "images" / split, top / "annotations" / split
    images.mkdir(parents=True)
    annotations.mkdir(parents=True)
    for number, (photo, labels) in enumerate(pairs, start=1):
        Image.fromarray(photo).save(images / f"ADE_val_{number:08d}.png")
        Image.fromarray(labels).save(annotations / f"ADE_val_{number:08d}.png")
    if names is not None:
        lines = [f"{number}\t0.1\t1\t1\t0\t{name}\n" for number, name in enumerate(names, start=1)]
        (top / f"objectInfo{len(names)}.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n" + "".join(lines))
    return root


def random_pair(seed: int, size: tuple[int, int] = (12, 16), labels: int = 4):
    """Draw a photo and labels 0 .. labels - 1."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8), rng.integers(0, labels, size, dtype=np.uint8)


def scene_pairs(count: int, seed: int = 99):
    """Draw scenes of a world that nobody else sees."""
    return [draw_labelled_scene(seed, index) for index in range(count)]
