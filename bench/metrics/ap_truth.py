"""An annotation file as average precision needs it: checked, and reduced to what the official evaluators see.

The native engine goes on where they stop, and now and then reads a field as they do not. Here such files are
refused with a sentence, or changed so that all agree; the list is in `bench.metrics.ap`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np

from models.errors import BenchError

LVIS_IMAGE_KEYS = (b'"neg_category_ids"', b'"not_exhaustive_category_ids"')


@dataclass(frozen=True, slots=True)
class Truth:
    """An annotation file, and the part of it that is evaluated."""

    path: Path
    dataset: hotcoco.COCO
    sizes: dict[int, tuple[int, int]]
    """(height, width) of every image of the file."""
    image_ids: tuple[int, ...]
    """The images evaluated, ascending."""
    category_ids: tuple[int, ...]
    """Ascending: the order of the K axis."""
    frequencies: tuple[str, ...]
    """LVIS: r, c or f for every category; COCO: empty."""


def open_truth(path: str | PathLike[str], *, lvis: bool, image_ids: Sequence[int] | None = None) -> Truth:
    """Load and check an annotation file.

    Raises:
        BenchError: if the file is missing, is not of the format, or numbers its annotations wrongly.
    """
    path = Path(path)
    dataset, text = _load(path)
    images, categories = dataset.imgs, dataset.cats
    if not categories:
        raise BenchError(f"{path} lists no categories: give an instances annotation file")
    _check_annotations(path, dataset, text)
    if lvis:
        _check_lvis(path, dataset, text, len(images))
        dataset = _without_empty(dataset)
    category_ids = tuple(sorted(categories))
    return Truth(
        path=path,
        dataset=dataset,
        sizes=_sizes(path, images),
        image_ids=_chosen(path, images, image_ids),
        category_ids=category_ids,
        frequencies=tuple(categories[c]["frequency"] for c in category_ids) if lvis else (),
    )


def _load(path: Path) -> tuple[hotcoco.COCO, bytes]:
    """Return the data set, and the text in which to look for what the engine does not tell."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BenchError(f"cannot read the annotation file {path} ({error}): check the data folder") from error
    try:
        return hotcoco.COCO(str(path)), text
    except ValueError:
        return _without_what_no_metric_reads(path, text), text


def _without_what_no_metric_reads(path: Path, text: bytes) -> hotcoco.COCO:
    """Return a data set whose file the engine refuses, be it for the type of a field that no metric reads.

    Raises:
        BenchError: if it is no annotation file all the same.
    """
    try:
        return hotcoco.COCO(_needed(json.loads(text)))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise BenchError(f"{path} is not a COCO annotation file ({what}): download it again") from error


_IMAGE = ("id", "height", "width", "neg_category_ids", "not_exhaustive_category_ids")
_ANNOTATION = ("id", "image_id", "category_id", "area", "bbox", "iscrowd", "ignore", "segmentation")
_CATEGORY = ("id", "frequency")


def _needed(content: dict[str, Any]) -> dict[str, Any]:
    """Return an annotation file's content without what no metric reads; whole floats become integers."""

    def only(entry: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
        plain = {key: entry[key] for key in keys if key in entry}
        if isinstance(plain.get("segmentation"), dict):
            plain["segmentation"] = {key: _integers(value) for key, value in plain["segmentation"].items()}
        return {key: int(value) if _is_whole(key, value) else value for key, value in plain.items()}

    return {
        "images": [{**only(image, _IMAGE), "file_name": ""} for image in content["images"]],
        "annotations": [only(annotation, _ANNOTATION) for annotation in content["annotations"]],
        "categories": [{**only(c, _CATEGORY), "name": str(c["id"])} for c in content["categories"]],
    }


def _integers(value: Any) -> Any:
    """Return an RLE's size or counts with 3 for 3.0."""
    return [int(number) if number == int(number) else number for number in value] if isinstance(value, list) else value


def _is_whole(key: str, value: Any) -> bool:
    """Whether a number that has to be an integer is a float or a truth value in the file, but means one."""
    return key not in ("area", "bbox", "segmentation") and isinstance(value, (bool, float)) and value == int(value)


def _check_annotations(path: Path, dataset: hotcoco.COCO, text: bytes) -> None:
    ids = dataset.get_ann_ids()
    if len(set(ids)) != len(ids):
        raise BenchError(f"{path} gives {len(ids) - len(set(ids))} annotation ids twice: number them 1, 2, 3, ...")
    if 0 in ids:
        # pycocotools and lvis store the id of a match and test it for truth.
        raise BenchError(f"{path} has an annotation with id 0, which evaluators take for 'no match': number from 1")
    if len(dataset.get_ann_ids(area_rng=[-np.inf, np.inf])) != len(ids):
        raise BenchError(f"{path} has annotations without an area: add it, S/M/L are told apart by it")
    if text.count(b'"segmentation"') < len(ids):
        raise BenchError(f"{path} has annotations without a segmentation: mask AP needs the instances file")


def _check_lvis(path: Path, dataset: hotcoco.COCO, text: bytes, n_images: int) -> None:
    """Check what the federated protocol needs; the engine takes a missing list for an empty one."""
    for key in LVIS_IMAGE_KEYS:
        if text.count(key) < n_images:
            raise BenchError(f"{path} has images without {key.decode()}: LVIS AP needs an LVIS v1 file")
    for category_id, category in dataset.cats.items():
        if category.get("frequency") not in ("r", "c", "f"):
            raise BenchError(f"category {category_id} of {path} has no frequency r, c or f: give an LVIS v1 file")
    ignored = b'"ignore"' in text and any(one.get("ignore") for one in json.loads(text)["annotations"])
    if ignored or dataset.get_ann_ids(iscrowd=True):
        raise BenchError(f"{path} marks annotations as crowd or ignored, which LVIS v1 does not: remove the marks")


def _without_empty(dataset: hotcoco.COCO) -> hotcoco.COCO:
    """Leave out annotations of area 0, as lvis 0.5.3 does when it asks for ids."""
    empty = set(dataset.get_ann_ids(area_rng=[-np.inf, 0]))
    if not empty:
        return dataset
    content = dataset.dataset
    content["annotations"] = [one for one in content["annotations"] if one["id"] not in empty]
    return hotcoco.COCO(content)


def _sizes(path: Path, images: dict) -> dict[int, tuple[int, int]]:
    sizes = {image_id: (image.get("height", 0), image.get("width", 0)) for image_id, image in images.items()}
    for image_id, size in sizes.items():
        if 0 in size:
            raise BenchError(f"image {image_id} of {path} has no height or width: add the size of its masks")
    return sizes


def _chosen(path: Path, images: dict, image_ids: Sequence[int] | None) -> tuple[int, ...]:
    if image_ids is None:
        return tuple(sorted(images))
    chosen = tuple(sorted({int(i) for i in image_ids}))
    unknown = [i for i in chosen if i not in images]
    if not chosen:
        raise BenchError(f"no image of {path} is to be evaluated: choose at least one")
    if unknown:
        raise BenchError(f"image {unknown[0]} is to be evaluated but is not in {path}: choose images of that file")
    return chosen
