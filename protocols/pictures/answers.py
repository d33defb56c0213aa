"""What an answer looks like: the image in colour where the mask is and pale elsewhere, what was asked, the IoU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bench.data import Annotation, ImageInfo
from bench.overlay import DARK, lit, overlay
from models.errors import BenchError, UnsupportedPrompt
from models.segmenter import BOX_TOP_LEFT, Prompts
from protocols.axes import Axes
from protocols.prompts.random_clicks import random_clicks
from protocols.prompts.sequences import clicked
from protocols.prompts.truths import Truths, boxes_of, ious
from protocols.results import Tile


class Object(NamedTuple):
    """What models are asked about in one strip."""

    info: ImageInfo
    annotation: Annotation
    prompt: str
    title: str
    repeat: int = 0
    row: str = ""
    """Whose record it was chosen for."""
    recorded: float = float("nan")
    """The IoU that the record has."""


class Scene(NamedTuple):
    """One object with its image and its truth."""

    image: np.ndarray
    truths: Truths
    about: Object

    def _asked(self, predictor: Any, axes: Axes) -> tuple[Prompts, Any]:
        """Return the prompt, as the table asks it, and the answer."""
        if self.about.prompt == "box":
            prompts = boxes_of(self.truths, axes)
        elif axes.clicks == "random":
            repeat, annotation = self.about.repeat, self.about.annotation.id
            click = random_clicks(self.truths.masks[0], 1, seed=axes.seed, repeat=repeat, annotation_id=annotation)
            prompts = Prompts(click[None], np.ones((1, 1), np.int64))
        else:
            return next(iter(clicked(predictor, self.truths, axes, 1)))
        return prompts, predictor.predict(prompts, self.truths.rasters)

    def given(self) -> list[Tile]:
        """Return the image, and the truth."""
        return [Tile("input", self.image), Tile("truth", lit(self.image, self.truths.masks[0]))]

    def answer(self, row: str, predictor: Any, axes: Axes) -> tuple[Tile, dict[str, Any]]:
        """Return a model's answer and its facts."""
        facts = {
            "image_id": self.about.info.id,
            "annotation_id": self.about.annotation.id,
            "prompt": self.about.prompt,
            "row": row,
        }
        predictor.set_image(self.image)
        try:
            prompts, found = self._asked(predictor, axes)
        except UnsupportedPrompt as refused:
            blank = {"iou": np.nan, "predicted_iou": np.nan, "refused": str(refused)}
            return Tile(row, self.image, "cannot take such prompts"), {**facts, **blank}
        iou, predicted = float(ious(found.masks, self.truths, axes)[0]), float(found.predicted_iou[0])
        boxed = prompts.labels[0, 0] == BOX_TOP_LEFT
        marks: Mapping[str, Any] = (
            {"boxes_xyxy": [prompts.points[0, :2].ravel().tolist()]}
            if boxed
            else {"clicks": [(*prompts.points[0, 0].tolist(), int(prompts.labels[0, 0]))]}
        )
        picture = overlay(lit(self.image, found.masks[0]), [], **marks, ink=DARK)
        said = {"iou": iou, "predicted_iou": predicted, "refused": ""}
        return Tile(row, picture, f"IoU {100 * iou:.1f}", iou), {**facts, **said}


def everything_in(row: str, model: Any, photo: np.ndarray, asked: Mapping[str, Any]) -> tuple[Tile, int]:
    """Return everything that a model finds in a photo, asked with some settings, and how many masks that is."""
    from models.annotations import decode  # which needs torch
    from models.everything.segment import Settings, segment_everything

    try:
        found = segment_everything(model, photo, Settings(**asked))
    except BenchError as error:
        return Tile(row, photo, f"cannot: {error}"), 0
    ordered = sorted(range(len(found)), key=lambda index: -found[index]["area"])
    picture = overlay(photo, [(index, decode(found[index]["segmentation"])) for index in ordered])
    return Tile(row, picture, f"{len(found)} masks"), len(found)
