"""Table 1: ImageNet-1K top-1 of finetuned classifiers (section 4.2)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bench.data.catalog import FOLDER_SETS
from bench.data.dead_leaves.imagenet import imagenet_root as micro_root
from bench.data.imagenet import NUMBERS, open_imagenet
from bench.metrics.interval import Interval, mean_interval, paired_mean_interval
from bench.metrics.random_effects import RandomEffectsMean, random_effects_mean
from models.errors import BenchError
from protocols.comparisons import METHOD, claim_notes, over_seeds, seed_notes
from protocols.data_set import DataSet, spread
from protocols.measured import Measured
from protocols.paper import paper_table
from protocols.plan import Plan
from protocols.results import Column, Comparison
from protocols.saved_predictions import Recordings, read_recordings
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.shards import SKIPPED, ImageSet
from protocols.watched import Label, Watched

__all__ = ["micro_root"]

# What these settings mean is said in protocols.tables.Table.
NAME = "table1"
VERSION = 1
TITLE = "Image classification, ImageNet-1K top-1 (Table 1)"
COLUMNS = (Column("top1", "top-1", "ImageNet-1K"),)
TASK = "image-classification"
METRIC = "accuracy"
DATA_SETS = ("imagenet",)
TAKES = frozenset({"scale", "models", "checkpoint", "limit", "device"})
ASK = "protocols.table1:ask"
CARDS = "models.classifier.cards"
MODELS = "classifier"
PHOTOS = "imagenet/val"
WORLDS = {
    "paper": "ImageNet photos of BENCH_DATA and full-size models",
    "micro": "dead leaves as ImageNet and micro models",
}
OURS = ("SAMI", "MAE")
CONTROLS = ("scratch-ti-micro-classify",)
COMPARED = (
    ("SAMI-Ti", "MAE-Ti"),
    ("SAMI-S", "MAE-S"),
    ("SAMI-B", "MAE-B"),
    ("SAMI-Ti", "DeiT-Ti"),
    ("SAMI-S", "DeiT-S"),
    ("SAMI-S", "DINO-S"),
    ("SAMI-S", "iBOT-S"),
    ("SAMI-B", "DMAE-B"),
    ("SAMI-B", "iBOT-B"),
    ("SAMI-B", "CAE-B"),
    ("SAMI-B", "BEiT-B"),
    ("SAMI-Ti", CONTROLS[0]),
    ("MAE-Ti", CONTROLS[0]),
)
LIMITED = "{:,} images, evenly spread over the classes"
WATCHED = Watched(
    what="images", key=("image_id",), values=(Label("answer1", "class"), Label("correct", "right or wrong"))
)
IMAGES_A_SHARD = 100
IMAGES_AT_ONCE = 25
"""Photos in a forward pass; few, since photos of any size are held."""
CLASSES = 1000
ANSWERS = tuple(f"answer{k}" for k in range(1, 6))
"""Columns of the five likeliest classes, the likeliest first."""
RECORD_TYPES = {
    "image_id": "int64",
    "file": "str",
    "label": "int64",
    **dict.fromkeys(ANSWERS, "int64"),
    "correct": "bool",
}


def note(label: str) -> str:
    """Return what the paper's row was pretrained on, if on more than ImageNet-1K."""
    data = str(paper_table(NAME).at[label, "training_data"])
    return "" if data == "IN1K" else f"the paper's was pretrained on {data}"


def open_data(name: str, plan: Plan, settings: Settings) -> DataSet:
    """Open the photos of a plan.

    Raises:
        BenchError: at paper scale, if the folders' order is not known to be that of the published labels.
    """
    photos = open_imagenet(plan.root)
    if plan.data_scale == "paper":
        photos.check_official()
    words = "" if photos.labelling == NUMBERS else f"labels are {photos.labelling}"
    return replace(data_set(photos, settings.limit), words=words)


def data_set(photos: Any, limit: int | None) -> DataSet:
    """Return what is asked of labelled photos (`bench.data.imagenet`); a limit is spread evenly over the classes."""
    asked = spread(len(photos), limit)
    published = len(asked) == FOLDER_SETS["imagenet"].n_images and len(photos.wnids) == CLASSES
    return DataSet(
        name="imagenet",
        source=photos,
        sha256=photos.sha256,
        truth={},
        asked=ImageSet(
            images=asked,
            ids=asked,
            names=[f"{photos.labels[image]} {_file(photos, image)}" for image in asked],
            files=lambda image: (photos.paths[image],),
            read=lambda image: photos[image],
        ),
        of_images=len(photos),
        published="the published set" if published else "",
    )


def ask(model: Any, data: DataSet, images: Sequence[int], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return a record for each photo: its class, the model's five likeliest, and whether the first is right.

    Args:
        model: a classifier of `models.classifier.cards`.
        data: see `data_set`.
        images: numbers of photos.
        advance: told of photos as they are done.
    """
    rows: list[dict[str, object]] = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        some = images[start : start + IMAGES_AT_ONCE]
        rows += _ask_few(model, data.source, some)
        advance(len(some))
    types = {**RECORD_TYPES, SKIPPED: "str"}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _file(photos: Any, image: int) -> str:
    path = photos.paths[image]
    return f"{path.parent.name}/{path.name}"


def _ask_few(model: Any, photos: Any, images: Sequence[int]) -> Iterator[dict[str, object]]:
    readable: dict[int, np.ndarray] = {}
    broken: dict[int, str] = {}
    for image in images:
        try:
            readable[image] = photos[image]
        except BenchError as unreadable:
            broken[image] = str(unreadable)
    answers = model.predict(list(readable.values())) if readable else np.empty((0, len(ANSWERS)), np.int64)
    of_image = dict(zip(readable, answers, strict=True))
    for image in images:
        label = int(photos.labels[image])
        answer = of_image.get(image, np.full(len(ANSWERS), -1))
        yield {
            "image_id": image,
            "file": _file(photos, image),
            "label": label,
            **dict(zip(ANSWERS, answer.tolist(), strict=True)),
            "correct": bool(answer[0] == label),
            SKIPPED: broken.get(image, ""),
        }


def score(run: CellRun, data: DataSet) -> Scores:
    """Return top-1 in 0..1 with its interval."""
    records = run.records
    interval = mean_interval(records["correct"].to_numpy(float), records["image_id"].to_numpy())
    return Scores({"top1": interval}, records[["image_id", "correct"]])


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of top-1, first - second, over the same images."""
    both = first.basis.merge(second.basis, on="image_id", suffixes=("", "_second"), validate="1:1")
    values = (both["correct"].to_numpy(float), both["correct_second"].to_numpy(float))
    return {"top1": paired_mean_interval(*values, both["image_id"].to_numpy())}


def saved(data: DataSet, settings: Settings) -> Recordings:
    """Return what models answered when they were trained, about the images that are asked."""
    return read_recordings(NAME, VERSION, data_sha256=data.sha256, image_ids=data.asked.ids, folder=settings.records)


def over_trainings(first: Sequence[Scores], second: Sequence[Scores], column: str) -> RandomEffectsMean:
    """Return the difference of top-1, first - second, over trainings of both and the images that were asked."""
    return random_effects_mean(_correct(first) - _correct(second))


def _correct(trainings: Sequence[Scores]) -> np.ndarray:
    """Return float [S, N]: which images each training got right."""
    return np.stack([one.basis.sort_values("image_id")["correct"].to_numpy(float) for one in trainings])


def comparisons(measured: Measured) -> Iterator[Comparison]:
    """Compare over the trainings that both rows have, if several, else over the images that both were asked about."""
    return over_seeds(sys.modules[__name__], measured)


def footnotes(measured: Measured) -> Iterator[str]:
    """Say what was asked and left out, what the intervals leave out, and where the paper contradicts itself."""
    classes = len(measured.data.source.wnids)
    yield f"{classes:,} classes: chance is {100 / classes:.1f} %"
    if measured.runs:
        yield "top-5: " + ", ".join(f"{row} {100 * top5(run[0].records):.1f}" for row, run in measured.runs.items())
        for why in next(iter(measured.runs.values()))[0].skipped.values():
            yield f"left out {why}"
    yield from seed_notes(COLUMNS, measured.scores, METHOD)
    yield from claim_notes(NAME)


def top5(records: pd.DataFrame) -> float:
    """Return the share of images whose class is among the five likeliest."""
    return float(records[list(ANSWERS)].eq(records["label"], axis=0).any(axis=1).mean())
