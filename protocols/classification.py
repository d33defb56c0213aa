"""Ask classifiers about held-out photos and assemble Table 1: one record a photo, kept in the run store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from bench.data.published import FOLDER_SETS
from models.errors import BenchError
from protocols import table1
from protocols.ablations import METHOD, difference
from protocols.classifiers import Model, Registry
from protocols.crossed import CrossedMean
from protocols.paper import claims, paper_difference
from protocols.results import Comparison, TableResult
from protocols.row_plan import Plan
from protocols.row_table import Question, ask_rows, row_cells
from protocols.rows import TABLE1_COMPARED, TABLE1_RUNS
from protocols.scores import CellRun, Scores
from protocols.settings import Settings
from protocols.shards import SKIPPED, ImageSet
from protocols.training_records import read_records
from protocols.verdicts import compared, compared_over_seeds

IMAGES_A_SHARD = 100
"""A killed run loses at most one shard."""
IMAGES_AT_ONCE = 25
"""Photos in a forward pass; few, since photos of any size are held."""
CLASSES = 1000


class Photos(Protocol):
    """Labelled photos, see `bench.data.imagenet`."""

    @property
    def paths(self) -> Sequence[Path]:
        """Return their files, sorted by class."""

    @property
    def labels(self) -> np.ndarray:
        """Return int64 [N], the class of each."""

    @property
    def wnids(self) -> Sequence[str]:
        """Return the names of the classes."""

    @property
    def sha256(self) -> str:
        """Return a hash of the set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Return uint8 [H, W, 3] RGB."""


def make_table(plan: Plan, registry: Registry, photos: Photos, settings: Settings) -> TableResult | None:
    """Ask every classifier of the plan and return Table 1; None on all but the first process.

    A limit is spread evenly over the classes.

    Raises:
        BenchError: if a model or its weights fail; finished shards stay.
    """
    asked = spread(len(photos), settings.limit)
    question = Question(
        table=table1.NAME,
        version=table1.VERSION,
        data="imagenet",
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
        at_once=IMAGES_A_SHARD,
        ask=lambda model, images, advance: ask(model, photos, images, advance),
    )
    runs, facts = ask_rows(plan, partial(registry.load, device=settings.device), question, settings)
    if os.environ.get("RANK", "0") != "0":
        return None
    scores = {row: table1.score(run) for row, run in runs.items()}
    custom = {subject.row for subject in plan.subjects if subject.checkpoint is not None}
    seeds = (
        _over_seeds(plan.scale, settings.records, len(photos), runs.keys() - custom)
        if len(asked) == len(photos)
        else {}
    )
    published = len(asked) == FOLDER_SETS["imagenet"].n_images and len(photos.wnids) == CLASSES
    return TableResult(
        name=table1.NAME,
        title=table1.TITLE,
        scale=plan.scale,
        world=f"{plan.world} ({question.extent} images{', the published set' if published else ''})",
        comparable=plan.scale == "paper" and published,
        preset="",
        columns=table1.COLUMNS,
        rows=plan.rows,
        cells=tuple(row_cells(plan, table1.NAME, table1.COLUMNS, scores)),
        comparisons=tuple(_comparison(first, second, scores, seeds) for first, second in TABLE1_COMPARED),
        footnotes=tuple(_footnotes(photos, runs, settings, seeds)),
        command=settings.command,
        provenance={**settings.provenance, **facts},
        pairing=f"paired over the same images{', those with a p over several trainings too' if seeds else ''}",
    )


def spread(count: int, limit: int | None) -> list[int]:
    """Return the photos that are asked: all, or so many at even distances, since photos are sorted by class.

    >>> spread(10, 4), spread(3, None)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    if limit is None or limit >= count:
        return list(range(count))
    return [k * count // limit for k in range(limit)]


def ask(model: Model, photos: Photos, images: Sequence[int], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return a record for each photo: its class, the model's five likeliest, and whether the first is right."""
    rows: list[dict[str, object]] = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        some = images[start : start + IMAGES_AT_ONCE]
        rows += _ask_few(model, photos, some)
        advance(len(some))
    types = {**table1.RECORD_TYPES, SKIPPED: "str"}
    return pd.DataFrame(rows, columns=list(types)).astype(types)


def _file(photos: Photos, image: int) -> str:
    path = photos.paths[image]
    return f"{path.parent.name}/{path.name}"


def _ask_few(model: Model, photos: Photos, images: Sequence[int]) -> Iterator[dict[str, object]]:
    readable: dict[int, np.ndarray] = {}
    broken: dict[int, str] = {}
    for image in images:
        try:
            readable[image] = photos[image]
        except BenchError as unreadable:
            broken[image] = str(unreadable)
    answers = model.predict(list(readable.values())) if readable else np.empty((0, len(table1.ANSWERS)), np.int64)
    of_image = dict(zip(readable, answers, strict=True))
    for image in images:
        label = int(photos.labels[image])
        answer = of_image.get(image, np.full(len(table1.ANSWERS), -1))
        yield {
            "image_id": image,
            "file": _file(photos, image),
            "label": label,
            **dict(zip(table1.ANSWERS, answer.tolist(), strict=True)),
            "correct": bool(answer[0] == label),
            SKIPPED: broken.get(image, ""),
        }


def _comparison(
    first: str, second: str, scores: Mapping[str, Scores], seeds: Mapping[tuple[str, str], CrossedMean]
) -> Comparison:
    """Compare over recorded trainings where there are several, else over the images that both rows' models saw."""
    key = table1.COLUMNS[0].key
    paper = paper_difference(table1.NAME, first, second, key)
    if (first, second) in seeds:
        return compared_over_seeds(first, second, key, paper, seeds[first, second], count=True)
    both = first in scores and second in scores
    ours = table1.compare(scores[first], scores[second])[key] if both else None
    return compared(first, second, key, paper, ours)


def _over_seeds(scale: str, folder: Path, images: int, rows: Set[str]) -> dict[tuple[str, str], CrossedMean]:
    """Return what pairs of measured rows differ by over several trainings, where these are recorded."""
    records = read_records(tuple(TABLE1_RUNS.values()), scale, folder)
    found = {
        (first, second): difference(records, TABLE1_RUNS[first], TABLE1_RUNS[second])
        for first, second in TABLE1_COMPARED
        if {first, second} <= rows & TABLE1_RUNS.keys()
    }
    return {pair: mean for pair, mean in found.items() if mean and mean.seeds > 1 and mean.images == images}


def _footnotes(
    photos: Photos,
    runs: Mapping[str, CellRun],
    settings: Settings,
    seeds: Mapping[tuple[str, str], CrossedMean],
) -> Iterator[str]:
    """Say what was asked and left out, what the intervals leave out, and where the paper contradicts itself."""
    if settings.limit is not None:
        yield f"limited run: {settings.limit:,} images, evenly spread over the classes"
    yield f"{len(photos.wnids):,} classes: chance is {100 / len(photos.wnids):.1f} %"
    if runs:
        yield "top-5: " + ", ".join(f"{row} {100 * table1.top5(run.records):.1f}" for row, run in runs.items())
        for why in next(iter(runs.values())).skipped.values():
            yield f"left out {why}"
    yield "intervals of rows are over images, for one training each: other seeds of the same recipe differ too"
    if seeds:
        yield f"differences with a p are means over recorded trainings of both methods; {METHOD}"
    for claim in claims(table1.NAME):
        if claim.note:
            yield f"the paper's text puts {claim.first} {100 * claim.claimed:.1f} above {claim.second}, {claim.note}"
