"""Every instance of a run, or of two, with its truth, its prompt and its answers: what `bench gallery` shows; no torch.

Of one run whose records are masks an instance is a detection, so that false alarms are seen; else it is what
`protocols.inspect.compare` compares: a prompt about an object, or of two such runs an object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from bench.data import Annotation, Detections, ImageInfo, Instances, read_rgb
from bench.data.masks import to_rle
from bench.metrics.interval import Interval
from models.errors import BenchError
from protocols.inspect.compare import compare, holds_masks, instances_of, size_classes
from protocols.inspect.gallery_detections import NOBODY, detections_of
from protocols.inspect.sides import Side
from protocols.results import ShownAnswer, ShownInstance, ShownPhoto

WHICH = ("first", "second")
FEW = 500
"""Instances that models are asked again about without being told to."""
Points = tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """What is shown."""

    sides: tuple[Side, ...]
    """One or two."""
    instances: pd.DataFrame
    """In order of images: annotation_id, prompt, ..., size, and first, predicted_iou_first, counts_first, of two sides
    also second, ...; of detections also the columns of `protocols.inspect.gallery_detections.BOX`."""
    headline: dict[str, Interval]
    """Of two sides the table's own comparison, by the key of its column: A - B."""
    notes: tuple[str, ...]

    @property
    def estimate(self) -> str:
        """Return what the second number of an answer is."""
        return "score" if self.sides[0].table == "table2" and len(self.sides) == 1 else "predicted IoU"


def gather(
    sides: Sequence[Side], source: Instances, limit: int | None = None, boxes: Detections | None = None
) -> Gallery:
    """Return the instances of one side, or those that two have in common.

    Args:
        sides: one or two runs or files of masks.
        source: what they are about.
        limit: how many images, the first of the data set; None for all.
        boxes: what one run of Table 5 was asked about, where they are known.

    Raises:
        BenchError: if records hold neither IoU nor masks, or two cannot be compared, or nothing is left to show.
    """
    if len(sides) == 2:
        paired = compare(sides[0], sides[1], source)
        table, headline, notes = paired.instances, paired.headline, paired.notes
    else:
        table, headline, notes = _of_one(sides[0], source, boxes), {}, ()
    if limit is not None:
        table = table[table["image_id"].isin([info.id for info in source.images[:limit]])]
        notes = (*notes, f"only instances of the first {limit:,} images of the data set are shown")
    if table.empty:
        raise BenchError(f"{sides[0].name} has no instance to show: take a run with prompts that count, or more images")
    missing = set(table["image_id"]) - {info.id for info in source.images}
    if missing:
        table = table[~table["image_id"].isin(missing)]
        notes = (*notes, f"{len(missing):,} images of {sides[0].name} are not on this machine and not shown")
    order = ["image_id", "annotation_id"]
    return Gallery(tuple(sides), table.sort_values(order, kind="stable").reset_index(drop=True), headline, notes)


def _of_one(side: Side, source: Instances, boxes: Detections | None) -> pd.DataFrame:
    if holds_masks(side.records):
        return detections_of(side, source, boxes)
    found = instances_of(side, source, side.asked)
    names = {"value": "first", "predicted_iou": "predicted_iou_first", "counts": "counts_first"}
    return found.rename(columns=names).assign(size=size_classes(found["area"]))


def asked_again(gallery: Gallery, most: int | None) -> frozenset[int]:
    """Return which instances, by their place in the table, models are to be asked again about, to show their masks.

    Args:
        gallery: what is shown; records that hold masks need no model.
        most: how many: those of the largest difference of two runs, or of the lowest IoU of one; None for all if they
            are `FEW`, and else none.
    """
    table = gallery.instances
    if "counts_first" in table or gallery.sides[0].table != "table4":
        return frozenset()
    if most is None:
        return frozenset(table.index) if len(table) <= FEW else frozenset()
    by = -table["difference"].abs() if "difference" in table else table["first"]
    return frozenset(by.sort_values(kind="stable").index[:most])


class _Asker:
    """The models of both sides, asked again about single instances; those that cannot be are said once."""

    def __init__(self, gallery: Gallery, device: str, say: Callable[[str], None]) -> None:
        from protocols.embeddings import embedding_once
        from protocols.inspect import asked_again as again  # torch takes seconds to import

        self._sides, self._say, self._again = gallery.sides, say, again
        models = [again.model_of(side, device, say) for side in gallery.sides]
        self._models = [None if model is None else embedding_once(model, images=1) for model in models]

    def answers(
        self, row: Mapping[str, Any], info: ImageInfo, annotation: Annotation
    ) -> tuple[list[str], Points | None]:
        """Return the run lengths of each side's answer, empty where it is not known, and what was asked, if known."""
        from models.annotations import encode

        counts, points = [""] * len(self._sides), None
        if all(model is None for model in self._models):
            return counts, points
        photo = read_rgb(info.path, size=(info.height, info.width))
        for place, (which, side, model) in enumerate(zip(WHICH, self._sides, self._models, strict=False)):
            if model is None:
                continue
            asked = self._again.recorded_answer(
                model, side, photo, info, annotation,
                prompt=row["prompt"], repeat=row["repeat"], iou=row[which], say=self._say,
            )  # fmt: skip
            if asked is not None:
                counts[place] = encode(asked.mask)["counts"]
                points = points or _points(asked.prompts.points[0], asked.prompts.labels[0])
        return counts, points


def shown_photos(
    gallery: Gallery,
    source: Instances,
    picture: Callable[[ImageInfo], str],
    *,
    again: frozenset[int] = frozenset(),
    device: str = "cpu",
    say: Callable[[str], None],
    advance: Callable[[int], None] = lambda done: None,
) -> Iterator[ShownPhoto]:
    """Yield the photos that have instances, in order, with these.

    Args:
        gallery: what is shown.
        source: what it is about.
        picture: makes the picture of a photo and returns its file, "" where the photo cannot be read.
        again: see `asked_again`.
        device: where models run.
        say: told what cannot be shown.
        advance: told of instances as they are done.
    """
    infos = {info.id: info for info in source.images}
    asker = _Asker(gallery, device, say) if again else None
    for image_id, table in gallery.instances.groupby("image_id", sort=False):
        info = infos[int(str(image_id))]
        file = picture(info)
        objects = {one.id: one for one in source.annotations(info.id, with_empty=True)}
        asked_about = [objects[one] for one in dict.fromkeys(table["annotation_id"]) if one in objects]
        points = _points_of(gallery, info, asked_about)
        make = partial(_shown, gallery, info, objects, points)
        rows = zip(table.index, table.to_dict("records"), strict=True)
        yield ShownPhoto(
            id=info.id, name=info.path.name, height=info.height, width=info.width, file=file,
            instances=tuple(make(row, asker if place in again and file else None) for place, row in rows),
        )  # fmt: skip
        advance(len(table))


def _shown(
    gallery: Gallery,
    info: ImageInfo,
    objects: Mapping[int, Annotation],
    points: Mapping[tuple[int, str, int], Points],
    row: dict[Any, Any],
    asker: _Asker | None,
) -> ShownInstance:
    """Return one instance; `asker` is None where no model is asked again."""
    annotation = objects.get(row["annotation_id"])
    sides = WHICH[: len(gallery.sides)]
    counts = [row.get(f"counts_{which}", "") for which in sides]
    asked = points.get((row["annotation_id"], row["prompt"], row["repeat"]), ())
    if not np.isnan(row.get("left", np.nan)):
        asked = ((row["left"], row["top"], 2), (row["right"], row["bottom"], 3))
    if asker is not None and annotation is not None:
        counts, known = asker.answers(row, info, annotation)
        asked = known or asked
    predicted = [row[f"predicted_iou_{which}"] for which in sides]
    return ShownInstance(
        object_id=None if row["annotation_id"] == NOBODY else row["annotation_id"],
        category_id=row["category_id"],
        area=row["area"],
        size=row["size"],
        prompt=row["prompt"],
        repeat=row["repeat"],
        points=asked,
        truth="" if annotation is None else to_rle(annotation.segmentation, info.height, info.width)["counts"].decode(),
        answers=tuple(
            ShownAnswer(row[which], None if np.isnan(estimate) else estimate, text)
            for which, estimate, text in zip(sides, predicted, counts, strict=True)
        ),
    )


def _points_of(
    gallery: Gallery, info: ImageInfo, annotations: Sequence[Annotation]
) -> dict[tuple[int, str, int], Points]:
    """Return what was asked about some objects, as far as it depends on no answer."""
    side = gallery.sides[0]
    if side.table != "table4":
        return {}
    from protocols.inspect.asked_again import points_asked  # torch takes seconds to import

    return {key: _points(*one) for key, one in points_asked(side.axes, info, annotations).items()}


def _points(points: np.ndarray, labels: np.ndarray) -> Points:
    """Return points [K, 2] and labels [K] as triples, without padding."""
    pairs = zip(points.tolist(), labels.tolist(), strict=True)
    return tuple((x, y, label) for (x, y), label in pairs if label >= 0)
