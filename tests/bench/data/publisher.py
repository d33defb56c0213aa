"""Small data sets as a publisher offers them, on a server of this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from PIL import Image

from bench.data import catalog
from bench.data.catalog import BOX_SETS, FOLDER_SETS, INSTANCE_SETS, Download
from tests.web import Server, serving

SIDE = 24


def picture(n: int, kind: str) -> bytes:
    """Return a photo, or a label map for a PNG."""
    out = io.BytesIO()
    mode, colour = ("RGB", (n, 2 * n, 3 * n)) if kind == "JPEG" else ("L", n)
    Image.new(mode, (SIDE, SIDE), colour).save(out, kind)
    return out.getvalue()


def annotations(images: Mapping[int, str], **more: Any) -> bytes:
    """Return an annotation file with one object an image."""
    entry = {"category_id": 1, "area": 9, "bbox": [1, 1, 3, 3], "segmentation": [[1, 1, 4, 1, 4, 4, 1, 4]], **more}
    size = {"height": SIDE, "width": SIDE, "neg_category_ids": [], "not_exhaustive_category_ids": []}
    content = {
        "images": [
            {"id": n, "file_name": name.split("/")[-1], "coco_url": f"http://x/{name}", **size}
            for n, name in images.items()
        ],
        "annotations": [{"id": n, "image_id": n, **entry} for n in images],
        "categories": [{"id": 1, "name": "leaf", "frequency": "f"}],
    }
    return json.dumps(content).encode()


VAL = {n: f"val2017/{n}.jpg" for n in (1, 2, 3)}
TRAIN = {n: f"train2017/{n}.jpg" for n in (4, 5)}
BOXES = json.dumps([{"image_id": n, "category_id": 1, "bbox": [1, 1, 3, 3], "score": 0.5} for n in VAL]).encode()

ARCHIVES: dict[str, dict[str, bytes]] = {
    "val2017.zip": {name: picture(n, "JPEG") for n, name in VAL.items()},
    "train2017.zip": {name: picture(n, "JPEG") for n, name in TRAIN.items()},
    "annotations_trainval2017.zip": {
        "annotations/captions_val2017.json": b"{}",
        "annotations/instances_val2017.json": annotations(VAL, iscrowd=0),
        "annotations/instances_train2017.json": annotations(TRAIN, iscrowd=0),
    },
    "lvis_v1_val.json.zip": {"lvis_v1_val.json": annotations(VAL | TRAIN)},
    "ADEChallengeData2016.zip": {
        "ADEChallengeData2016/objectInfo150.txt": b"Idx\tName\n" + b"".join(b"%d\tc\n" % n for n in range(1, 4)),
        **{f"ADEChallengeData2016/images/{split}/{split}_1.jpg": picture(1, "JPEG") for split in ("validation",)},
        **{f"ADEChallengeData2016/annotations/{split}/{split}_1.png": picture(1, "PNG") for split in ("validation",)},
    },
}
LAYOUT: dict[str, bytes] = {
    **{f"coco/{name}": ARCHIVES["val2017.zip"][name] for name in VAL.values()},
    **{f"coco/{name}": ARCHIVES["train2017.zip"][name] for name in TRAIN.values()},
    **{
        f"coco/annotations/instances_{split}2017.json": ARCHIVES["annotations_trainval2017.zip"][
            f"annotations/instances_{split}2017.json"
        ]
        for split in ("val", "train")
    },
    "lvis/annotations/lvis_v1_val.json": ARCHIVES["lvis_v1_val.json.zip"]["lvis_v1_val.json"],
    **{
        name.replace("ADEChallengeData2016", "ade20k"): content
        for name, content in ARCHIVES["ADEChallengeData2016.zip"].items()
    },
    "coco/detections/coco_vitdet.json": BOXES,
    "lvis/detections/lvis_vitdet.json": BOXES,
}
"""All that `fetch` makes."""


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Return an archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        for name, content in members.items():
            opened.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


@contextmanager
def publishing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the small data sets and put them into the catalog in place of the large ones."""
    files = {name: zipped(members) for name, members in ARCHIVES.items()}
    with serving({**files, "coco_vitdet.json": BOXES, "lvis_vitdet.json": BOXES}) as server:

        def small(download: Download) -> Download:
            content = server.files[download.name]
            counts = {"val2017": len(VAL), "train2017": len(TRAIN)}
            leaves = tuple(
                (place, counts.get(place, 1) if count else 0)
                for place, count in download.leaves
                if not place.endswith("training")
            )
            digest = hashlib.sha256(content).hexdigest() if download.sha256 else None
            size = len(content) if download.bytes else None
            return dataclasses.replace(
                download, url=server.url(download.name), leaves=leaves, sha256=digest, bytes=size, about=None
            )

        for name, images in (("coco", VAL), ("lvis", VAL | TRAIN)):
            published = INSTANCE_SETS[name]
            changes = {
                "annotations_from": small(published.annotations_from),
                "images_from": tuple(map(small, published.images_from)),
                "n_images": len(images),
                "n_annotations": len(images),
                "n_categories": 1,
            }
            monkeypatch.setitem(catalog.INSTANCE_SETS, name, dataclasses.replace(published, **changes))
        for name, boxes in BOX_SETS.items():
            download = small(boxes.download)
            monkeypatch.setitem(
                catalog.BOX_SETS, name, dataclasses.replace(boxes, download=download, sha256=download.sha256)
            )
        ade20k = FOLDER_SETS["ade20k"]
        downloads = tuple(map(small, ade20k.downloads))
        monkeypatch.setitem(catalog.FOLDER_SETS, "ade20k", dataclasses.replace(ade20k, downloads=downloads, n_images=1))
        yield server
