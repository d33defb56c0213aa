"""COCO val2017 and LVIS v1 val with a detector's results, drawn: of the published sizes, in the published formats.

Objects are blobs of 8 to 350 px. A truth is a polygon, a detection a compressed RLE: a truth moved a little, or
a blob anywhere. No photo is drawn, only an empty file of its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from blobs import SIDES, area, box, counts, polygon, runs

from bench.data.catalog import COCO, LVIS, InstanceSet
from bench.data.instances import PHOTOS

SIZES = np.array([(480, 640), (640, 480), (427, 640), (640, 427), (375, 500), (500, 375)])
"""Of images, (height, width) px: the commonest ones of COCO."""
SIZE_SHARES = (0.38, 0.14, 0.26, 0.08, 0.1, 0.04)
FOUND = 0.6
"""Share of detections that are drawn from a truth."""
RIGHT = 0.7
"""Share of those with its category."""
NEGATIVES = 10
"""LVIS: categories said to be absent from an image, at most."""
NOT_EXHAUSTIVE = 0.1
"""LVIS: share of an image's categories of which not all objects are annotated."""
UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Numbers up to 90 that no category of COCO has."""


@dataclass(frozen=True)
class Size:
    """How much there is."""

    published: InstanceSet
    images: int
    annotations: int
    detections: int
    category_ids: tuple[int, ...]
    crowds: int = 0
    """Of the annotations, marked as crowds and given as run lengths."""
    frequencies: str = ""
    """LVIS: r, c or f of every category."""


FULL = {
    "coco": Size(COCO, 5_000, 36_781, 92_850, tuple(i for i in range(1, 91) if i not in UNUSED), crowds=446),
    "lvis": Size(
        LVIS, 19_809, 244_707, 3_000_000, tuple(range(1, 1_204)), frequencies="r" * 337 + "c" * 461 + "f" * 405
    ),
}
"""COCO: detections are those of the ViTDet-H file that Table 5 uses; LVIS: what such a file may hold with masks."""


class Files(NamedTuple):
    """Where a drawn data set is."""

    name: str
    root: Path
    """The data root that `open_instances` takes."""
    annotations: Path
    results: Path
    images: int
    detections: int


class Blobs(NamedTuple):
    """Blobs in images, N of them."""

    image: np.ndarray
    """int64 [N], place of the image."""
    category: np.ndarray
    """int64 [N], place of the category."""
    side: np.ndarray
    """int64 [N], place in SIDES."""
    corner: np.ndarray
    """int64 [N, 2], x and y of what encloses the blob, px."""


class World(NamedTuple):
    """A drawn data set before it is written."""

    size: Size
    image_ids: np.ndarray
    """int64 [I] ascending."""
    sizes: np.ndarray
    """int64 [I, 2], height and width, px."""
    truths: Blobs
    """By image."""
    detections: Blobs
    """By image, best first."""
    scores: np.ndarray
    """float64 [D]."""


def draw(name: str, scale: float, seed: int = 0) -> World:
    """Draw coco or lvis with `scale` times the published number of images, annotations and detections."""
    size, rng = FULL[name], np.random.default_rng(seed)
    n_images, n_truths, n_detections = (
        max(2, round(n * scale)) for n in (size.images, size.annotations, size.detections)
    )
    image_ids = np.sort(rng.choice(580_000, n_images, replace=False) + 1)
    sizes = SIZES[rng.choice(len(SIZES), n_images, p=SIZE_SHARES)]
    truths = _anywhere(rng, n_truths, sizes, size)
    truths = _taken(truths, np.argsort(truths.image, kind="stable"))
    source = rng.integers(n_truths, size=n_detections)
    near, far = _near(rng, truths, source, sizes, size), _anywhere(rng, n_detections, sizes, size)
    found = rng.random(n_detections) < FOUND
    detections = Blobs(
        *(np.where(found[:, None] if a.ndim > 1 else found, a, b) for a, b in zip(near, far, strict=True))
    )
    scores = np.round(np.where(found, rng.beta(2, 3, n_detections), rng.beta(1, 8, n_detections)), 6)
    order = np.lexsort((-scores, detections.image))
    return World(size, image_ids, sizes, truths, _taken(detections, order), scores[order])


def _taken(blobs: Blobs, order: np.ndarray) -> Blobs:
    return Blobs(*(column[order] for column in blobs))


def _anywhere(rng: np.random.Generator, n: int, sizes: np.ndarray, size: Size) -> Blobs:
    share = rng.gamma(1.5, size=len(sizes))
    image = rng.choice(len(sizes), n, p=share / share.sum())
    side = np.clip(rng.normal(0.62, 0.24, n) * len(SIDES), 0, len(SIDES) - 1).astype(np.int64)
    return Blobs(image, _categories(rng, n, size), side, _inside(rng.random((n, 2)) * SIZES.max(), side, sizes[image]))


def _categories(rng: np.random.Generator, n: int, size: Size) -> np.ndarray:
    """Draw places of categories: the k-th commonest in proportion to 1 / (k + 5), rare ones at the beginning."""
    share = 1 / (np.arange(len(size.category_ids))[::-1] + 5)
    return rng.choice(len(share), n, p=share / share.sum())


def _near(rng: np.random.Generator, truths: Blobs, source: np.ndarray, sizes: np.ndarray, size: Size) -> Blobs:
    """Draw what a detector makes of truths."""
    n, one = len(source), _taken(truths, source)
    side = np.clip(one.side + rng.integers(-4, 5, n), 0, len(SIDES) - 1)
    grown = (SIDES[side] - SIDES[one.side])[:, None] / 2
    moved = rng.normal(size=(n, 2)) * 0.06 * SIDES[side][:, None]
    category = np.where(rng.random(n) < RIGHT, one.category, _categories(rng, n, size))
    return Blobs(one.image, category, side, _inside(one.corner - grown + moved, side, sizes[one.image]))


def _inside(corner: np.ndarray, side: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return corners at which blobs lie wholly in their images: those too far out come back from the other side."""
    room = sizes[:, ::-1] - (np.ceil(SIDES[side]).astype(np.int64) + 2)[:, None]
    within: np.ndarray = np.rint(corner).astype(np.int64) % (room + 1)
    return within


def write(world: World, root: Path, name: str, images: int | None = None) -> Files:
    """Write annotations, results and empty photos of a world's first images (default: all)."""
    images = len(world.image_ids) if images is None else images
    annotations, results = root / world.size.published.annotation_file, root / f"{name}_results.json"
    photos = root / PHOTOS / "val2017"
    for folder in (annotations.parent, photos):
        folder.mkdir(parents=True, exist_ok=True)
    for image_id in world.image_ids[:images].tolist():
        (photos / _photo(image_id)).touch()
    content = {
        "images": list(_images(world, images)),
        "annotations": list(_annotations(world, images)),
        "categories": [
            {"id": number, "name": f"category {number}", **({"frequency": often} if often else {})}
            for number, often in zip(
                world.size.category_ids, world.size.frequencies or [""] * len(world.size.category_ids), strict=True
            )
        ],
    }
    annotations.write_text(json.dumps(content))
    count = int(np.searchsorted(world.detections.image, images))
    with results.open("w") as file:
        file.write("[")
        for i, line in enumerate(_results(world, count)):
            file.write(f", {line}" if i else line)
        file.write("]")
    return Files(name, root, annotations, results, images, count)


def _photo(image_id: int) -> str:
    return f"{image_id:012}.jpg"


def _images(world: World, images: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(1)
    begins = np.searchsorted(world.truths.image, np.arange(images + 1))
    for i, (number, (height, width)) in enumerate(
        zip(world.image_ids[:images].tolist(), world.sizes.tolist(), strict=False)
    ):
        entry = {"id": number, "height": height, "width": width}
        if not world.size.frequencies:
            yield entry | {"file_name": _photo(number)}
            continue
        ids = np.array(world.size.category_ids)
        present = np.unique(ids[world.truths.category[begins[i] : begins[i + 1]]])
        absent = np.setdiff1d(ids[_categories(rng, NEGATIVES, world.size)], present)
        yield entry | {
            "coco_url": f"http://images.cocodataset.org/val2017/{_photo(number)}",
            "neg_category_ids": absent.tolist(),
            "not_exhaustive_category_ids": present[rng.random(len(present)) < NOT_EXHAUSTIVE].tolist(),
        }


def _rows(world: World, blobs: Blobs, count: int) -> Iterator[tuple[int, int, int, int, int, int, int]]:
    """Yield image and category (ids), height and width, place in SIDES, x and y of the first blobs."""
    at_once = 1 << 16  # bounds the Python numbers that exist at a time
    ids = np.array(world.size.category_ids)
    for start in range(0, count, at_once):
        part = _taken(blobs, np.arange(start, min(start + at_once, count)))
        columns = (
            world.image_ids[part.image],
            ids[part.category],
            *world.sizes[part.image].T,
            part.side,
            *part.corner.T,
        )
        yield from zip(*(column.tolist() for column in columns), strict=True)


def _annotations(world: World, images: int) -> Iterator[dict[str, Any]]:
    count = int(np.searchsorted(world.truths.image, images))
    n_truths = len(world.truths.image)
    crowds = round(world.size.crowds * n_truths / world.size.annotations)
    for i, (image_id, category_id, height, width, side, x, y) in enumerate(_rows(world, world.truths, count)):
        entry = {
            "id": i + 1,
            "image_id": image_id,
            "category_id": category_id,
            "bbox": box(height, side, x, y),
            "area": float(area(height, side)),
            "segmentation": [polygon(height, side, x, y)],
        }
        if not world.size.frequencies:
            crowd = i * crowds // n_truths < (i + 1) * crowds // n_truths  # evenly among them
            entry["iscrowd"] = int(crowd)
            if crowd:
                entry["segmentation"] = {"size": [height, width], "counts": runs(height, width, side, x, y)}
        yield entry


def _results(world: World, count: int) -> Iterator[str]:
    scores = world.scores.tolist()
    for score, (image_id, category_id, height, width, side, x, y) in zip(
        scores, _rows(world, world.detections, count), strict=False
    ):
        text = counts(height, width, side, x, y)
        yield (
            f'{{"image_id": {image_id}, "category_id": {category_id}, "bbox": {box(height, side, x, y)}, '
            f'"score": {score}, "segmentation": {{"size": [{height}, {width}], "counts": "{text}"}}}}'
        )
