"""Scenes as LVIS v1: a long tail of shape x texture categories, annotated category by category (federated).

The file itself is made of named objects, whatever names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.data.dead_leaves.coco import Named, annotation, file_name
from bench.data.dead_leaves.scene import SIZE, Leaf, Scene
from bench.data.dead_leaves.shapes import SHAPE_NAMES, TEXTURE_NAMES
from bench.draws import Draws

FEDERATION_SEED = 3
ANNOTATED = 0.75
"""Share of the categories present in an image that are annotated there; of the others nothing is known."""
VERIFIED_ABSENT = 0.2
"""Share of the absent categories that are known to be absent."""
NOT_EXHAUSTIVE = 0.1
"""Share of the annotated categories of which only the first object is annotated."""

_KINDS = [*SHAPE_NAMES, "part"]
NAMES = [f"{texture} {kind}" for kind in _KINDS for texture in TEXTURE_NAMES]
_FREQUENCIES = ((10, "r"), (100, "c"))
"""LVIS: rare in fewer than 10 images, common in fewer than 100, else frequent; counted here in this split."""


def instances(scenes: list[Scene]) -> dict[str, Any]:
    """Return the content of lvis_v1_val.json."""
    return content([_named(scene) for scene in scenes], NAMES)


def content(scenes: Sequence[Sequence[Named]], names: Sequence[str]) -> dict[str, Any]:
    """Return the content of lvis_v1_val.json of scenes' objects; `names` are those of categories 1, 2, ..."""
    images, annotations = [], []
    for index, scene in enumerate(scenes):
        image, entries = _federate(scene, index + 1, len(names))
        images.append({**image, "coco_url": f"http://images.cocodataset.org/val2017/{file_name(index)}"})
        annotations += entries
    return {
        "info": {"description": "dead leaves", "version": "1"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": _categories(annotations, names),
    }


def category_id(leaf: Leaf) -> int:
    """Return the category of a leaf or part, from 1."""
    kind = len(SHAPE_NAMES) if leaf.parent else leaf.shape
    return kind * len(TEXTURE_NAMES) + leaf.texture + 1


def _named(scene: Scene) -> list[Named]:
    return [Named(n, category_id(scene.leaves[n - 1]), scene.mask(n)) for n in scene.objects()]


def _federate(scene: Sequence[Named], image_id: int, categories: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return an image entry with its federated lists and the annotations that were made."""
    draws = Draws(FEDERATION_SEED, image_id)
    by_category: dict[int, list[Named]] = {}
    for one in scene:
        by_category.setdefault(one.category_id, []).append(one)
    annotations, absent, not_exhaustive = [], [], []
    for category in range(1, categories + 1):
        chosen, partial = draws.uniform(), draws.chance(NOT_EXHAUSTIVE)
        objects = by_category.get(category, [])
        if not objects:
            if chosen < VERIFIED_ABSENT:
                absent.append(category)
            continue
        if chosen < ANNOTATED:
            if partial and len(objects) > 1:
                not_exhaustive.append(category)
                objects = objects[:1]
            annotations += [annotation(one, image_id) for one in objects]
    image = {
        "id": image_id,
        "height": SIZE,
        "width": SIZE,
        "neg_category_ids": absent,
        "not_exhaustive_category_ids": not_exhaustive,
    }
    return image, annotations


def _categories(annotations: list[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    images = Counter(category for _, category in {(a["image_id"], a["category_id"]) for a in annotations})
    objects = Counter(a["category_id"] for a in annotations)
    return [
        {
            "id": category,
            "name": name.replace(" ", "_"),
            "synset": f"{name.replace(' ', '_')}.n.01",
            "synonyms": [name.replace(" ", "_")],
            "def": f"a leaf of shape and texture: {name}",
            "image_count": images[category],
            "instance_count": objects[category],
            "frequency": next((letter for bound, letter in _FREQUENCIES if images[category] < bound), "f"),
        }
        for category, name in enumerate(names, start=1)
    ]
