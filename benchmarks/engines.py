"""The engines against the published operations, as published. Run `python benchmarks/engines.py`.

Every way runs in processes of its own: the published operations with the allocator and the matrix products that they
are published with, this project's with those that `bench run` sets. Ways take turns, and their answers must agree
before a ratio is printed.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from pycocotools import mask as rle
from rich.console import Console
from rich.table import Table
from turns import WORKER, differing, keep, own_process

from bench.data.images import read_rgb
from bench.progress import progress
from bench.provenance import provenance
from models import zoo
from models.annotations import encode_all
from models.engines.ladder import products, put_on
from models.engines.names import Engine
from models.segmenter import Prompts
from protocols.axes import Axes
from protocols.embeddings import embedding_once
from protocols.predictors import ModelPredictor

Work = Literal["encoder", "boxes", "photos", "again"]
WORKS: dict[Work, str] = {
    "encoder": "a photo to its embedding",
    "boxes": "the boxes of one embedded photo to run lengths",
    "photos": "photos to the run lengths of their boxes",
    "again": "the same photos again, from remembered embeddings",
}
WAYS: dict[str, Engine] = {"as published": "reference", "exact": "exact", "fast": "fast"}
PIXELS = {"exact": 1e-4, "fast": 0.05}
"""Largest share of pixels in which an engine's masks may differ from the published operations'; random weights make
logits that are nowhere far from the threshold, so that bfloat16 moves many."""


def main(
    models: tuple[str, ...] = ("efficientsam-ti", "sam-vit-b"),
    works: tuple[Work, ...] = ("encoder", "boxes", "photos", "again"),
    folder: Path | None = None,
    photos: int = 4,
    boxes: int = 32,
    rounds: int = 3,
    out: Path | None = None,
) -> None:
    """Time each engine against the published operations, one box at a time, on full-size models.

    Weights are the published ones where they are here, else random: speed does not depend on them. "photos" is Table
    5's path without its scorer; "again" shows what an embedding cache saves a later table.

    Args:
        models: Names of `bench list`.
        works: What is timed: encoder, boxes (of one photo, to run lengths), photos (all of it), again (photos whose
            embeddings are remembered, against the published operations from the start).
        folder: Of photos; default is noise of 480 x 640 px.
        photos: How many of them.
        boxes: On each photo.
        rounds: Turns of each way; medians count.
        out: A JSON file for the figures and the machine.
    """
    figures = []
    with progress("timing", total=rounds * len(models) * len(works) * len(WAYS), unit="runs") as advance:
        for model in models:
            for work in works:
                seconds = _in_turn(model, work, folder, photos, boxes, rounds, advance)
                first = statistics.median(seconds["as published"])
                for way, times in seconds.items():
                    middle = statistics.median(times)
                    figures.append(
                        {"model": model, "work": work, "way": way, "seconds": middle, "ratio": first / middle}
                    )
    table = Table(title=f"{boxes} boxes a photo, {photos} photos, {torch.get_num_threads()} threads", box=None)
    for heading in ("model", "work", "way", "median s", "times as fast"):
        table.add_column(heading, justify="right" if heading in ("median s", "times as fast") else "left")
    for one in figures:
        table.add_row(one["model"], WORKS[one["work"]], one["way"], f"{one['seconds']:.3f}", f"{one['ratio']:.1f}")
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps({"figures": figures, "made_with": provenance()}, indent=1) + "\n")


def _in_turn(
    model: str,
    work: Work,
    folder: Path | None,
    photos: int,
    boxes: int,
    rounds: int,
    advance: Callable[[int], object],
) -> dict[str, list[float]]:
    """Return the seconds of every turn by way.

    Raises:
        SystemExit: if the answers differ.
    """
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as place:
        for _ in range(rounds):
            for way, engine in WAYS.items():
                given = (model, work, engine, folder or "", photos, boxes, Path(place) / f"{engine}.npz")
                seconds[way].append(float(own_process(__file__, *given, published=engine == "reference")))
                advance(1)
        _check(Path(place))
    return seconds


def _check(place: Path) -> None:
    for engine, most in PIXELS.items():
        share = differing(place / "reference.npz", place / f"{engine}.npz")
        if share > most:
            raise SystemExit(f"the {engine} engine's answers are off by {share:.1e}: no ratio is printed")


def worker(model: str, work: Work, engine: Engine, folder: str, photos: int, boxes: int, answers: str) -> None:
    """Do some work once to warm up and once on the clock; print the seconds and keep the answers."""
    images = _photos(folder, photos if work in ("photos", "again") else 1)
    prompts = [_boxes(image, boxes) for image in images]
    torch.manual_seed(0)
    segmenter: Any = zoo.load(model) if zoo.available(model)[0] else zoo.untrained(model)
    put_on(segmenter, engine)
    if work == "again" and engine != "reference":
        segmenter = embedding_once(segmenter, len(images))
    ask = _published if engine == "reference" else _ours
    with products(engine):
        if engine == "reference" and work == "again":
            work = "photos"
        if work == "encoder":
            time_and_keep(lambda: segmenter.embed(images)[0].features.float().numpy(), answers)
        elif work == "boxes":
            remembered = embedding_once(segmenter, 1)
            remembered.embed(images)
            time_and_keep(lambda: ask(remembered, images, prompts), answers)
        else:
            if work == "again":
                segmenter.embed(images)
            time_and_keep(lambda: ask(segmenter, images, prompts), answers)


def time_and_keep(run: Callable[[], Any], answers: str) -> None:
    """Run twice, print the seconds of the second run, write what it gave."""
    run()
    started = time.perf_counter()
    found = run()
    print(time.perf_counter() - started)
    if not isinstance(found, np.ndarray):  # photos differ in size
        found = np.concatenate([rle.decode(one).ravel() for one in found]).astype(bool)
    keep(Path(answers), found)


def _published(segmenter: Any, images: Sequence[np.ndarray], prompts: Sequence[Prompts]) -> list[Any]:
    """Ask one box at a time, upscale its three candidates, encode the best one by pycocotools."""
    found = []
    for image, boxes in zip(images, prompts, strict=True):
        (embedding,) = segmenter.embed([image])
        for index in range(len(boxes)):
            logits, predicted_iou = segmenter.segment(embedding, boxes[index : index + 1])
            masks = segmenter.masks(logits, embedding.size)[0]
            mask = masks[predicted_iou[0].argmax()].numpy()
            found.append(rle.encode(np.asfortranarray(mask.astype(np.uint8))))
    return found


def _ours(segmenter: Any, images: Sequence[np.ndarray], prompts: Sequence[Prompts]) -> list[Any]:
    """Ask as Tables 4 and 5 do."""
    predictor = ModelPredictor(segmenter, Axes())
    found: list[Any] = []
    for image, boxes in zip(images, prompts, strict=True):
        predictor.set_image(image)
        found += encode_all(predictor.predict(boxes, None).masks)
    return found


def _photos(folder: str, count: int) -> list[np.ndarray]:
    if folder:
        return [read_rgb(path) for path in sorted(Path(folder).glob("*.jpg"))[:count]]
    return list(np.random.default_rng(0).integers(0, 256, (count, 480, 640, 3), dtype=np.uint8))


def _boxes(image: np.ndarray, count: int) -> Prompts:
    corners = np.random.default_rng(1).uniform(0, 1, (count, 2, 2)) * (image.shape[1], image.shape[0])
    return Prompts.from_boxes(np.sort(corners, axis=1).reshape(-1, 4))


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        name, what, rung, place, n_photos, n_boxes, file = sys.argv[2:]
        worker(name, what, rung, place, int(n_photos), int(n_boxes), file)  # type: ignore[arg-type]
    else:
        tyro.cli(main)
