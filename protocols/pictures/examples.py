"""Answers to look at: models side by side on objects chosen by rule, and the worst answers of a table's records.

Nothing is picked by hand. Objects are the first ones that fit a rule that knows no model; failures are the lowest IoUs
of a row's records, whatever they look like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from bench.data import Annotation, ImageInfo
from bench.data.images import read_rgb
from bench.store.stored import find_run
from models.engines.float32 import engine, threads
from models.errors import BenchError
from protocols import table4
from protocols.axes import Axes
from protocols.data_set import DataSet
from protocols.everything import GENERATOR
from protocols.methods import axes_of
from protocols.pictures.answers import Object, Scene, everything_in
from protocols.pictures.salient import salient_scenes
from protocols.plan import Subject
from protocols.prompts.truths import truths_of
from protocols.registry import registry_of
from protocols.results import Strip, TableResult, Tile
from protocols.settings import Scale, Settings

DATA_SET = "coco"
FIRST_ROWS = ("SAM", "EfficientSAM-Ti", "EfficientSAM-S")
"""Rows that stand left; the others follow in the order of the table."""
JUDGED = ("EfficientSAM-Ti", "EfficientSAM-S")
"""Rows whose worst answers are shown."""
IMAGES, WORST = 4, 4
"""Images of a sheet, and answers of a row."""
SAME = 1e-4
"""An IoU that is farther than this from its record is not the same answer."""
_GENERATOR = ("points_per_side", "pred_iou_thresh", "stability_score_thresh")
PROMPTS = {"box": "a box", "1click": "one click"}


class Pictures(NamedTuple):
    """One sheet, with what each picture shows."""

    key: str
    caption: str
    strips: tuple[Strip, ...]
    data: pd.DataFrame


class Sheets(NamedTuple):
    """All pictures of a report."""

    examples: list[Pictures]
    failures: list[Pictures]
    missing: tuple[str, ...]
    """Sentences on what is not shown, and why."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A table whose data are open, with its models."""

    result: TableResult
    data: DataSet
    subjects: tuple[Subject, ...]
    scale: Scale
    settings: Settings
    everything: Mapping[str, Any]
    """How everything is asked, as table `everything` asks it."""


def opened(result: TableResult, settings: Settings) -> _Asked:
    """Open the data that a Table 4 is about, and find its models.

    Raises:
        BenchError: if they are not here, or are not those that it was made of.
    """
    from protocols.table import prepare  # which needs torch

    axes = axes_of(result)
    if result.name != table4.NAME or result.own or axes is None:
        raise BenchError("pictures are made from Table 4 on COCO, with the choices it was made with")
    recorded = result.provenance.get("models") or {}
    names = tuple(str(one.get("name")) for row, one in recorded.items() if row in {r.label for r in result.rows})
    scale: Scale = "paper" if result.scale == "paper" else "auto" if result.scale == "mixed" else "micro"
    question = prepare(table4, replace(settings, scale=scale, models=names, axes=axes, preset=result.preset)).question
    data = question.data.get(DATA_SET)
    hashed = (result.provenance.get("data") or {}).get(DATA_SET, {}).get("sha256")
    if data is None or data.sha256 != hashed:
        raise BenchError("the data of Table 4 are not here any more, so its answers cannot be shown")
    kinds = {row.label: row.kind for row in result.rows}
    subjects = [one for one in question.plan.subjects if kinds.get(one.row, "bound") != "bound"]
    first = {row: place for place, row in enumerate(FIRST_ROWS)}
    subjects.sort(key=lambda one: first.get(one.row, len(first)))
    return _Asked(result, data, tuple(subjects), scale, settings, GENERATOR[question.plan.data_scale])


def pictures(result: TableResult, settings: Settings) -> Sheets:
    """Return sheets of answers to a box, a click, to everything and of salient objects, and of the worst answers.

    Each model is loaded once.

    Raises:
        BenchError: as `opened`.
    """
    asked = opened(result, settings)
    images = list(_first_images(asked.data))
    examples, failures, missing = list(_examples(asked, images)), list[_Sheet](), list[str]()
    everything, salient = _Everything(images, asked.everything), None
    try:
        failures = list(_failures(asked))
    except BenchError as error:
        missing.append(f"the worst answers are not shown, since {error}")
    try:
        salient = salient_scenes([one.model for one in asked.subjects], asked.scale, settings, IMAGES)
    except BenchError as error:
        missing.append(f"salient objects are not shown, since {error}")
    for subject, predictor in _models(asked):
        for sheet in [*examples, *failures]:
            sheet.ask(subject, predictor, asked.data.chosen)
        everything.ask(subject, predictor)
        if salient is not None:
            salient.ask(subject.row, subject.model, predictor)
    shown = [*(sheet.finished() for sheet in examples), everything.finished()]
    if salient is not None:
        shown.append(Pictures("examples-salient", salient.caption, salient.strips(), pd.DataFrame(salient.rows)))
    return Sheets(shown, [sheet.finished() for sheet in failures], tuple(missing))


def _examples(asked: _Asked, images: Sequence[ImageInfo]) -> Iterator[_Sheet]:
    rule = f"the first {len(images)} images that have an object; in each, the object of median area"
    objects = [(info, _median(asked.data, info)) for info in images]
    for prompt, words in PROMPTS.items():
        titled = [Object(info, one, prompt, f"image {info.id}, annotation {one.id}") for info, one in objects]
        caption = (
            f"Answers to {words}: the image in colour where the mask is, and its IoU with the truth. Chosen by rule: "
            f"{rule}."
        )
        yield _Sheet(f"examples-{prompt}", caption, titled, asked.data.chosen)


def _failures(asked: _Asked) -> Iterator[_Sheet]:
    rows = [one.row for one in asked.subjects if one.row in JUDGED] or [one.row for one in asked.subjects][:1]
    for prompt, words in PROMPTS.items():
        for row in rows:
            caption = (
                f"Failures of {row} with {words}: the {WORST} lowest IoUs of all its records in Table 4 on "
                f"{asked.data.label}, none left out; equal ones in the order of annotations. Beside them the others' "
                "answers to the same prompt."
            )
            key = f"failures-{prompt}-{rows.index(row) + 1}"
            if objects := list(_lowest(asked, row, prompt)):
                yield _Sheet(key, caption, objects, asked.data.chosen)


def _first_images(data: DataSet) -> Iterator[ImageInfo]:
    found = 0
    for info in data.asked.images:
        if found < IMAGES and _objects(data, info):
            found += 1
            yield info


def _objects(data: DataSet, info: ImageInfo) -> list[Annotation]:
    """Return the objects of an image that count: no crowds, none without a pixel."""
    return [
        one
        for one in data.source.annotations(info.id, with_empty=False)
        if not one.iscrowd and one.mask(info.height, info.width).any()
    ]


def _median(data: DataSet, info: ImageInfo) -> Annotation:
    ordered = sorted(_objects(data, info), key=lambda one: (one.area, one.id))
    return ordered[len(ordered) // 2]


def _lowest(asked: _Asked, row: str, prompt: str) -> Iterator[Object]:
    """Yield the objects of the lowest IoUs of a row's records."""
    runs = asked.result.provenance.get("runs") or {}
    name = runs.get(f"{row} on {DATA_SET}", runs.get(row))
    if not name:
        raise BenchError(f"Table 4 does not say which run its row {row} rests on")
    records = find_run(str(name), asked.settings.store).records()
    counted = table4.counted(records, asked.data.chosen)
    of_prompt = counted[counted["prompt"] == prompt].sort_values(["iou", "annotation_id", "repeat"], kind="stable")
    ties = int((of_prompt["iou"] == of_prompt["iou"].min()).sum())
    infos = {info.id: info for info in asked.data.asked.images}
    for place, (_, record) in enumerate(of_prompt.head(WORST).iterrows(), start=1):
        info = infos[int(record["image_id"])]
        annotation = next(
            one for one in asked.data.source.annotations(info.id, with_empty=True) if one.id == record["annotation_id"]
        )
        title = f"{row}, {place} of {len(of_prompt):,} records from below: IoU {100 * record['iou']:.1f}"
        title += f" (shared by {ties:,} records)" if ties > 1 and place == 1 else ""
        title += f"; image {info.id}, annotation {annotation.id}"
        yield Object(info, annotation, prompt, title, int(record["repeat"]), row, float(record["iou"]))


class _Sheet:
    """Strips that grow by a picture a model."""

    def __init__(self, key: str, caption: str, objects: Sequence[Object], axes: Axes) -> None:
        self.key, self.caption = key, caption
        self.scenes = [
            Scene(read_rgb(one.info.path), truths_of(one.info, [one.annotation], axes), one) for one in objects
        ]
        self.tiles = [scene.given() for scene in self.scenes]
        self.rows: list[dict[str, Any]] = []
        self.changed = 0

    def ask(self, subject: Subject, predictor: Any, axes: Axes) -> None:
        """Ask a model about every object."""
        for scene, tiles in zip(self.scenes, self.tiles, strict=True):
            tile, facts = scene.answer(subject.row, predictor, axes)
            tiles.append(tile)
            self.rows.append({**facts, "model": subject.model})
            recorded = scene.about.recorded
            if scene.about.row == subject.row and (tile.iou is None or abs(tile.iou - recorded) > SAME):
                self.changed += 1

    def finished(self) -> Pictures:
        """Return what was asked."""
        changed = f" {self.changed} of these answers are not the recorded ones any more." if self.changed else ""
        strips = (Strip(scene.about.title, tuple(tiles)) for scene, tiles in zip(self.scenes, self.tiles, strict=True))
        return Pictures(self.key, self.caption + changed, tuple(strips), pd.DataFrame(self.rows))


class _Everything:
    """Strips of everything that models find in some images."""

    def __init__(self, images: Sequence[ImageInfo], asked: Mapping[str, Any]) -> None:
        self.images, self.asked = images, asked
        self.photos = [read_rgb(info.path) for info in images]
        self.tiles = [[Tile("input", photo)] for photo in self.photos]
        self.rows: list[dict[str, Any]] = []

    def ask(self, subject: Subject, predictor: Any) -> None:
        """Let a model find everything in each."""
        model = getattr(predictor, "model", predictor)
        for info, photo, tiles in zip(self.images, self.photos, self.tiles, strict=True):
            tile, count = everything_in(subject.row, model, photo, self.asked)
            tiles.append(tile)
            self.rows.append({"image_id": info.id, "row": subject.row, "model": subject.model, "masks": count})

    def finished(self) -> Pictures:
        """Return what was found."""
        side, predicted, stable = (self.asked[name] for name in _GENERATOR)
        caption = (
            f"Everything that SAM's automatic mask generator finds with each model: {side} x {side} points, masks of a "
            f"predicted IoU above {predicted:g} and a stability of at least {stable:g}, other settings as published. "
            f"Chosen by rule: the first {len(self.images)} images that have an object."
        )
        if any(row["row"].startswith("FastSAM") for row in self.rows):
            caption += " FastSAM's masks are those of its own single pass."
        strips = (Strip(f"image {info.id}", tuple(tiles)) for info, tiles in zip(self.images, self.tiles, strict=True))
        return Pictures("examples-everything", caption, tuple(strips), pd.DataFrame(self.rows))


def _models(asked: _Asked) -> Iterator[tuple[Subject, Any]]:
    """Yield each row's model as what answers prompts, loaded and computing as in the table."""
    from protocols.predictors import predictor_of  # which needs torch

    registry = registry_of(table4)
    for subject in asked.subjects:
        with engine(exact=True), threads(subject.card.threads):
            model = registry.load(
                subject.model, subject.checkpoint, device=asked.settings.device, trusted=asked.settings.trusted
            )
            yield subject, predictor_of(model, asked.data.chosen)
