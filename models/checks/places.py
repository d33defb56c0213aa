"""Whether an answer lies where it was asked, and if not, which reading of the coordinates would put it there.

Rectangles lie on images of several shapes. Each is asked in pixels of the image, as the contract has it, and again
as a model with a usual mistake would have to be asked for the same place: x and y swapped, normalised, in pixels of
a padded input. The reading whose answers lie at the rectangles is the model's. A model whose answers lie nowhere in
particular, as with random weights, decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from models.checks.asking import answer, clicks, shown, with_rectangles
from models.checks.verdict import Verdict, ok, undecided, wrong
from models.errors import BenchError, UnsupportedPrompt
from models.segmenter import Embedding, Prompts, Segmenter

SCENES: dict[tuple[int, int], tuple[tuple[int, int, int, int], ...]] = {
    (200, 400): ((30, 20, 130, 70), (290, 40, 340, 170), (190, 120, 260, 185)),
    (400, 200): ((20, 30, 70, 130), (40, 300, 170, 350), (115, 180, 185, 250)),
    (300, 400): ((35, 170, 155, 270), (210, 25, 270, 145), (300, 200, 380, 280)),
}
"""Rectangles xyxy, px, by (height, width) of the image; off the diagonal, so that no two readings agree."""
SIDES = (1024, 1008, 640, 512, 256)
"""Long sides of usual network inputs, px."""
ENOUGH = 0.5
"""Mean score from which answers lie where they were asked."""
MARGIN = 0.1
"""How much better another reading must be to be believed."""

Transform = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Reading(NamedTuple):
    """A way to read coordinates."""

    words: str
    """The mistake; empty for the contract's own way."""
    asked: Transform
    """(points [P, K, 2] px, (width, height)) -> how a model that reads so is asked for the same place."""


def _boxes_as_size(points: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.stack([points[:, 0], points[:, 1] - points[:, 0]], 1)


AS_CONTRACT = Reading("", lambda p, size: p)
READINGS = (
    Reading("x and y are swapped", lambda p, size: p[..., ::-1]),
    Reading("coordinates are read as normalised to 0..1", lambda p, size: p / size),
    Reading(
        "coordinates are read as normalised to 0..1, and x and y are swapped", lambda p, size: (p / size)[..., ::-1]
    ),
    Reading("width and height are swapped where coordinates are scaled", lambda p, size: p * size[::-1] / size),
    Reading(
        "the image is padded on both sides, and the padding is not added to coordinates",
        lambda p, size: p + (size.max() - size) / 2,
    ),
    Reading("masks cover the padded square: the padding is not cropped off", lambda p, size: p * (size.max() / size)),
    Reading(
        "the image is padded, but coordinates are scaled as if it were squashed to a square",
        lambda p, size: p * (size / size.max()),
    ),
)
OF_BOXES = Reading("boxes are read as x, y, width, height", _boxes_as_size)


def _of_input(side: int) -> Iterator[Reading]:
    told = "coordinates are read in px of the network's input"
    yield Reading(f"{told}, padded to a square of about {side} px", lambda p, size: p * (side / size.max()))
    yield Reading(f"{told}, squashed to a square of about {side} px", lambda p, size: p * (side / size))


def boxes(model: Segmenter) -> Verdict:
    """Check that the box of a rectangle is answered with the rectangle; the score is their IoU."""

    def prompts(points: np.ndarray) -> Prompts:
        return Prompts.from_boxes(points.reshape(-1, 4))

    def score(mask: np.ndarray, corners: np.ndarray) -> float:
        inside = _filled(corners, mask.shape)
        return float((mask & inside).sum() / max(1, (mask | inside).sum()))

    return _decided(model, "boxes", "mean IoU with rectangles", lambda p: p, prompts, score, (OF_BOXES,))


def single_clicks(model: Segmenter) -> Verdict:
    """Check that a click lies in its answer; the score is that less the share of the image that the answer covers."""

    def score(mask: np.ndarray, point: np.ndarray) -> float:
        x, y = point[0].astype(int)
        return float(mask[y, x]) - float(mask.mean())

    def middles(corners: np.ndarray) -> np.ndarray:
        return corners.mean(1, keepdims=True)  # [P, 1, 2]

    return _decided(
        model,
        "clicks",
        "share of clicks inside their masks, less the area covered:",
        middles,
        lambda p: clicks(p[:, 0]),
        score,
        (),
    )


def _decided(
    model: Segmenter,
    kind: str,
    measure: str,
    points_of: Callable[[np.ndarray], np.ndarray],
    prompts_of: Callable[[np.ndarray], Prompts],
    score: Callable[[np.ndarray, np.ndarray], float],
    more: tuple[Reading, ...],
) -> Verdict:
    """Ask all scenes in every reading and say which is the model's."""
    scenes = [
        (shown(model, with_rectangles(size, rectangles)), points_of(np.array(rectangles, float).reshape(-1, 2, 2)))
        for size, rectangles in SCENES.items()
    ]

    def mean(reading: Reading) -> float:
        scores = [_scores(model, embedding, points, reading, prompts_of, score) for embedding, points in scenes]
        return float(np.mean(np.concatenate(scores)))

    try:
        as_asked = mean(AS_CONTRACT)
    except UnsupportedPrompt as error:
        return undecided(f"it takes no {kind} ({error})")
    others = {reading.words: mean(reading) for reading in (*READINGS, *more)}
    if max(as_asked, *others.values()) < ENOUGH:
        others |= {reading.words: mean(reading) for side in _sides(model) for reading in _of_input(side)}
    likely = max(others, key=lambda words: others[words])
    values = {"as_asked": as_asked, "best_other": others[likely]}
    if others[likely] >= ENOUGH and others[likely] > as_asked + MARGIN:
        return wrong(
            f"likely {likely} ({measure} {others[likely]:.2f} when asked so, {as_asked:.2f} in px of the image)",
            **values,
        )
    if as_asked >= ENOUGH:
        return ok(f"answers lie where they were asked ({measure} {as_asked:.2f})", **values)
    return undecided(
        f"answers lie nowhere in particular ({measure} {as_asked:.2f}, {others[likely]:.2f} in the best of "
        f"{len(others)} other readings): are the weights trained, and for such prompts?",
        **values,
    )


def _scores(
    model: Segmenter,
    embedding: Embedding,
    points: np.ndarray,
    reading: Reading,
    prompts_of: Callable[[np.ndarray], Prompts],
    score: Callable[[np.ndarray, np.ndarray], float],
) -> np.ndarray:
    """Return the score [P] of each answer; 0 where the model refuses what only another reading would ask."""
    asked = reading.asked(points, np.array(embedding.size[::-1], float)).astype(np.float32)
    try:
        found = answer(model, embedding, prompts_of(asked))
    except BenchError:
        if reading is AS_CONTRACT:
            raise
        return np.zeros(len(points))
    return np.array([score(mask, place) for mask, place in zip(found.best, points, strict=True)])


def _sides(model: Any) -> tuple[int, ...]:
    """Return the side of the network's input, if the model tells it, and the usual ones."""
    own = getattr(getattr(model, "network", None), "image_size", None)
    return tuple(dict.fromkeys([own, *SIDES])) if isinstance(own, int) else SIDES


def _filled(corners: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return bool [H, W] of a rectangle's corners [2, 2], whole px."""
    (x0, y0), (x1, y1) = corners.astype(int)
    inside = np.zeros(size, bool)
    inside[y0:y1, x0:x1] = True
    return inside
