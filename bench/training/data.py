"""What trainings see: the paper's data sets on disk, and the dead leaves that stand in for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import paths
from bench.data.ade20k import open_ade20k
from bench.data.dead_leaves import ade20k, detection, imagenet, salient
from bench.data.dead_leaves.training import TRAINING_SEED, MaskBatches, training_scenes
from bench.data.imagenet import open_imagenet
from bench.data.instances import open_instances
from bench.data.photos import PhotoFolder
from bench.data.sa1b import EXTENSIONS, Sa1bBatches, nothing_there
from bench.data.tars import open_shards
from bench.data.training.detection import CocoPhotos
from models.errors import MissingData
from models.training.recipes import COCO_IMAGES, FINETUNE_SCENES, IMAGENET_IMAGES, SA1B_IMAGES

SCENES = 6000
"""Dead leaves that micro SAM and FastSAM are trained on, and MobileSAM distilled."""
UNLABELLED, OBJECTS, CLIP_OBJECTS = 12_000, 6000, 3000
"""Images of dead leaves as ImageNet: those of pretraining, of finetuning, and for CLIP's stand-in alone."""
DETECTION_SCENES = 2000
"""Dead leaves that micro detectors are trained on."""
SEMANTIC_SCENES = 1800
"""Dead leaves that micro Mask2Former is trained on, two epochs."""
SALIENT_SCENES = 2000
"""Dead leaves that micro U²-Net-p is trained on."""


class Opened(NamedTuple):
    """Images that are there."""

    photos: Any
    """By number, as the stage's batches take them."""
    images: int
    """How many there are."""
    facts: Callable[[Any], dict[str, Any]]
    """Tells a record what was seen, from the batches, when the training is over."""
    classes: int = 0
    labels: np.ndarray | None = None
    """int64 [N], where whole images have a class."""
    masks: Callable[..., Any] | None = None
    """Makes batches of images with masks: (images=, masks=, size=, seed=, log=)."""
    identity: str = ""
    """Tells these images from as many others."""


@dataclass(frozen=True, slots=True)
class Data:
    """Where the images of a training come from."""

    name: str
    open: Callable[[Path | None], Opened]
    """Opens them, under the folder that `--data` names; dead leaves are drawn first."""
    images: int
    """Of the published set, or of those that are drawn."""
    classes: int = 0
    """Of the published set, or of those that are drawn."""
    epochs: bool = False
    """Whether recipes count epochs of it, and so take fewer steps for fewer images."""


def _root(data: Path | None) -> Path:
    root = data or paths.data_root()
    if root is None:
        raise MissingData(
            "no photos to train on: give --data, or set BENCH_DATA to the folder of sa1b/, imagenet/, coco/, ade20k/"
        )
    return root


def _photos(data: Path | None) -> Opened:
    photos = PhotoFolder(data or _root(None) / "imagenet" / "train")
    return Opened(photos, len(photos), lambda _: {"images": len(photos)}, identity=photos.names_sha256())


def _imagenet(data: Path | None) -> Opened:
    photos = open_imagenet(_root(data), "train")
    return Opened(photos, len(photos), lambda _: {"images": len(photos)}, 1000, np.asarray(photos.labels))


def _sa1b(data: Path | None) -> Opened:
    folder = _root(data) / "sa1b"
    if not folder.is_dir():
        raise nothing_there([folder], Counter())
    count = sum(map(len, open_shards([folder], EXTENSIONS)))

    def masks(*, images: int, **rest: Any) -> Sa1bBatches:
        return Sa1bBatches([folder], images_per_batch=images, **rest)

    return Opened(None, count, lambda seen: {"images": count, "skipped": dict(seen.skipped)}, masks=masks)


def _coco(data: Path | None) -> Opened:
    photos = CocoPhotos(open_instances("coco-train", _root(data)))
    facts = {"images": len(photos), "without_objects": photos.without_objects}
    return Opened(photos, len(photos), lambda _: facts, len(photos.category_ids))


def _ade20k(data: Path | None) -> Opened:
    photos = open_ade20k(_root(data), "training")
    return Opened(photos, len(photos), lambda _: {"images": len(photos)}, len(photos.names))


def _scenes(count: int) -> Opened:
    facts = {"world": "dead leaves", "seed": TRAINING_SEED, "scenes": count}
    scenes = training_scenes(SCENES).first(count)

    def masks(*, size: int, log: Path, **rest: Any) -> MaskBatches:
        return MaskBatches(scenes, **rest)

    return Opened(scenes, count, lambda _: facts, masks=masks)


def _unlabelled(data: Path | None) -> Opened:
    facts = {"world": "dead leaves as ImageNet, unlabelled", "seed": imagenet.PRETRAINING_SEED, "images": UNLABELLED}
    return Opened(imagenet.unlabelled_images(UNLABELLED), UNLABELLED, lambda _: facts)


def _labelled(first: int, count: int) -> Opened:
    scenes, some = imagenet.labelled_images(OBJECTS + CLIP_OBJECTS), slice(first, first + count)
    facts = {"world": "dead leaves as ImageNet, labelled", "seed": imagenet.TRAINING_SEED, "images": count}
    return Opened(scenes.images[some], count, lambda _: facts, len(imagenet.CLASSES), scenes.labels[some])


def _detection(data: Path | None) -> Opened:
    facts = {"world": "dead leaves to detect", "seed": detection.DETECTION_SEED, "scenes": DETECTION_SCENES}
    photos = detection.detection_scenes(DETECTION_SCENES)
    return Opened(photos, DETECTION_SCENES, lambda _: facts, len(detection.NAMES))


def _semantic(data: Path | None) -> Opened:
    facts = {"world": "dead leaves as ADE20K", "seed": ade20k.TRAINING_SEED, "images": SEMANTIC_SCENES}
    return Opened(ade20k.labelled_scenes(SEMANTIC_SCENES), SEMANTIC_SCENES, lambda _: facts, len(ade20k.NAMES))


def _salient(data: Path | None) -> Opened:
    facts = {"world": "dead leaves with a salient one", "seed": salient.TRAINING_SEED, "images": SALIENT_SCENES}
    return Opened(salient.salient_scenes(SALIENT_SCENES), SALIENT_SCENES, lambda _: facts)


PHOTOS = Data("ImageNet", _photos, IMAGENET_IMAGES, epochs=True)
IMAGENET = Data("ImageNet", _imagenet, IMAGENET_IMAGES, 1000, epochs=True)
SA1B = Data("SA-1B", _sa1b, SA1B_IMAGES, epochs=True)
COCO = Data("COCO", _coco, COCO_IMAGES, 80, epochs=True)
ADE20K = Data("ADE20K", _ade20k, 20_210, 150)
PROMPTED_LEAVES = Data("dead leaves", lambda _: _scenes(SCENES), SCENES)
FINETUNING_LEAVES = Data("dead leaves", lambda _: _scenes(FINETUNE_SCENES), FINETUNE_SCENES)
UNLABELLED_LEAVES = Data("dead leaves as ImageNet", _unlabelled, UNLABELLED)
LABELLED_LEAVES = Data("dead leaves as ImageNet", lambda _: _labelled(0, OBJECTS), OBJECTS, len(imagenet.CLASSES))
CLIP_LEAVES = Data(
    "dead leaves as ImageNet", lambda _: _labelled(OBJECTS, CLIP_OBJECTS), CLIP_OBJECTS, len(imagenet.CLASSES)
)
DETECTION_LEAVES = Data("dead leaves to detect", _detection, DETECTION_SCENES, len(detection.NAMES))
SEMANTIC_LEAVES = Data("dead leaves as ADE20K", _semantic, SEMANTIC_SCENES, len(ade20k.NAMES))
SALIENT_LEAVES = Data("dead leaves with a salient one", _salient, SALIENT_SCENES)
