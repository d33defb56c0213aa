"""The salient object of some photos, found from three points in U²-Net's map as table `salient` asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bench.metrics.iou import mask_iou
from bench.overlay import DARK, lit, overlay
from models.errors import BenchError, UnsupportedPrompt
from models.segmenter import FOREGROUND, Prompts
from protocols import salient
from protocols.data_set import DataSet, spread
from protocols.predictors import predictor_of
from protocols.results import Strip, Tile
from protocols.salient_prompts import POINTS, draw_points, network
from protocols.settings import Scale, Settings

CAPTION = (
    "The salient object: three points are drawn in the map of {maker}, as in table `salient` (section 4.3), and each "
    "model answers them with a mask. Chosen by rule: {shown} of that table's {all:,} photos, evenly spread."
)


class SalientScenes:
    """Strips that grow by a picture a model."""

    def __init__(self, data: DataSet, count: int) -> None:
        self.data, self.photos = data, data.source.photos
        self.images = [data.asked.ids[place] for place in spread(len(data.asked.ids), count)]
        self.scenes = [self.photos[image] for image in self.images]
        self.points: list[np.ndarray] = []
        self.tiles: list[list[Tile]] = [[Tile("input", photo)] for photo, _ in self.scenes]
        self.rows: list[dict[str, Any]] = []

    def ask(self, row: str, model: str, predictor: Any) -> None:
        """Ask a model about every photo, in the engine that is set."""
        if not self.points:
            self._draw_points()
        chosen = predictor_of(getattr(predictor, "model", predictor), self.data.chosen)
        for place, image in enumerate(self.images):
            tile, facts = self._answer(row, chosen, place)
            self.tiles[place].append(tile)
            self.rows.append({"file": self.photos.paths[image].name, "row": row, "model": model, **facts})

    def _draw_points(self) -> None:
        """Find the maps and what is asked in them, the same for every model."""
        maker = network(self.data.source.maker)
        for image, (photo, truth), tiles in zip(self.images, self.scenes, self.tiles, strict=True):
            found = maker.saliency(photo)
            points = draw_points(found, image, seed=self.data.chosen.seed, repeat=0)
            self.points.append(points)
            tiles.append(Tile("map", np.repeat(found[..., None], 3, axis=2)))
            tiles.append(Tile("truth and points", _shown(photo, truth, points)))

    def _answer(self, row: str, predictor: Any, place: int) -> tuple[Tile, dict[str, Any]]:
        (photo, truth), points = self.scenes[place], self.points[place]
        predictor.set_image(photo)
        try:
            found = predictor.predict(Prompts(points[None], np.full((1, POINTS), FOREGROUND)), truth[None])
        except UnsupportedPrompt as refused:
            return Tile(row, photo, "cannot take such prompts"), {"iou": np.nan, "refused": str(refused)}
        mask = found.masks[0]
        iou = float(mask_iou(mask[None], truth)[0])
        return Tile(row, _shown(photo, mask, points), f"IoU {100 * iou:.1f}", iou), {"iou": iou, "refused": ""}

    @property
    def caption(self) -> str:
        """Return what was asked, and of which photos."""
        names = {"shown": len(self.images), "all": len(self.data.asked.ids)}
        return CAPTION.format(maker=self.data.source.maker.name, **names)

    def strips(self) -> tuple[Strip, ...]:
        """Return what was answered, a strip a photo."""
        names = (f"photo {self.photos.paths[image].name}" for image in self.images)
        return tuple(Strip(name, tuple(tiles)) for name, tiles in zip(names, self.tiles, strict=True))


def salient_scenes(models: Sequence[str], scale: Scale, settings: Settings, count: int) -> SalientScenes:
    """Choose photos of table `salient`.

    Raises:
        BenchError: if there are no photos with masks here, no network that makes maps, or a photo cannot be read.
    """
    from protocols.table import prepare  # which needs torch

    prepared = prepare(salient, replace(settings, scale=scale, models=tuple(models)))
    data = prepared.question.data["salient"]
    if not data.asked.ids:
        raise BenchError("table `salient` has no photos")
    return SalientScenes(data, count)


def _shown(photo: np.ndarray, mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    return overlay(lit(photo, mask), [], clicks=[(float(x), float(y), 1) for x, y in points], ink=DARK)
