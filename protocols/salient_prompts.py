"""Questions of table `salient`: the salient object of each photo, from three points in its saliency map."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pycocotools import mask as rle

from bench.data.salient import SalientPhotos
from bench.metrics.iou import mask_iou
from bench.metrics.saliency import f_curve, mean_absolute_error, s_measure
from models.errors import BenchError
from models.segmenter import FOREGROUND, Prompts
from models.u2net.cards import LoadedSaliency
from protocols.axes import Axes
from protocols.data_set import DataSet
from protocols.predictors import predictor_of
from protocols.prompts.random_clicks import random_clicks
from protocols.salient_models import MapMaker, load
from protocols.shards import SKIPPED

POINTS = 3
"""Points that are drawn in a map (section 4.3)."""
INSIDE = 128
"""Value of a map, 0..255, from which on a pixel is in it; our choice, paper silent: half of the largest."""
RECORD_TYPES = {
    "image_id": "int64",
    "file": "str",
    "repeat": "int64",
    "pick": "int64",
    "predicted_iou": "float64",
    "iou": "float64",
    "s_measure": "float64",
    "mae": "float64",
    "f_curve": "object",
    "mask": "object",
}
"""One record for each photo and draw of points; of a network's own map one for each photo. `f_curve`: float64 [256] as
bytes. `mask`: the answer, compressed RLE counts."""


class Source(NamedTuple):
    """What is asked about."""

    photos: SalientPhotos
    maker: MapMaker


def ask(model: Any, data: DataSet, images: Sequence[int], advance: Callable[[int], None]) -> pd.DataFrame:
    """Return the records of photos, see `RECORD_TYPES`.

    A photo that cannot be read, or whose mask does not fit it, is skipped and says why.

    Args:
        model: a network of `models.u2net.cards`, a segmenter of the zoo, or a predictor.
        data: its `source` is a `Source`.
        images: numbers of photos.
        advance: told of photos as they are done.

    Raises:
        UnsupportedPrompt: if the model takes no three points.
    """
    source: Source = data.source
    types = {**RECORD_TYPES, SKIPPED: "str"}
    rows: list[dict[str, object]] = []
    for image in images:
        about = {"image_id": image, "file": source.photos.paths[image].name, SKIPPED: ""}
        try:
            photo, truth = source.photos[image]
        except BenchError as broken:
            rows.append({**_BLANK, **about, SKIPPED: str(broken)})
        else:
            rows += [{**about, **row} for row in _ask_one(model, source.maker, photo, truth, image, data.chosen)]
        advance(1)
    return pd.DataFrame(rows, columns=list(types)).astype(types)


_BLANK: dict[str, object] = {
    name: {"object": b"", "str": ""}.get(kind, 0) for name, kind in RECORD_TYPES.items() if name != "image_id"
}


def _ask_one(
    model: Any, maker: MapMaker, photo: np.ndarray, truth: np.ndarray, image: int, axes: Axes
) -> Iterator[dict[str, object]]:
    """Yield the records of a photo uint8 [H, W, 3], whose salient object is `truth` bool [H, W]."""
    if isinstance(model, LoadedSaliency):
        saliency = model.saliency(photo)
        yield {"repeat": 0, "pick": 0, "predicted_iou": np.nan, **_scores(saliency, saliency >= INSIDE, truth)}
        return
    saliency = network(maker).saliency(photo)
    predictor = predictor_of(model, axes)
    predictor.set_image(photo)
    for repeat in range(axes.repeats):
        points = draw_points(saliency, image, seed=axes.seed, repeat=repeat)
        answer = predictor.predict(Prompts(points[None], np.full((1, POINTS), FOREGROUND)), truth[None])
        mask = answer.masks[0]
        found = {"repeat": repeat, "pick": int(answer.pick[0]), "predicted_iou": float(answer.predicted_iou[0])}
        yield {**found, **_scores(np.uint8(255) * mask, mask, truth)}


def draw_points(saliency: np.ndarray, image: int, *, seed: int, repeat: int) -> np.ndarray:
    """Draw points in a saliency map uint8 [H, W], float32 [POINTS, 2] (x, y) px.

    Uniformly, with replacement, among the pixels of at least `INSIDE`; where a map has none, among its brightest. They
    depend on (seed, repeat, number of the photo) and the map alone.
    """
    inside = saliency >= min(INSIDE, int(saliency.max()))
    return random_clicks(inside, POINTS, seed=seed, repeat=repeat, annotation_id=image)


@lru_cache(maxsize=1)
def network(maker: MapMaker) -> LoadedSaliency:
    """Return the network that makes maps, loaded once."""
    loaded: LoadedSaliency = load(maker.name, maker.checkpoint if maker.custom else None, device=maker.device)
    return loaded


def _scores(saliency: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> dict[str, object]:
    return {
        "iou": float(mask_iou(mask[None], truth)[0]),
        "s_measure": s_measure(saliency, truth),
        "mae": mean_absolute_error(saliency, truth),
        "f_curve": f_curve(saliency, truth).tobytes(),
        "mask": rle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"],
    }
