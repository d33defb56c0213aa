"""Which entries of the precision and recall arrays each number of a table averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALL, MEDIUM, LARGE = 1, 2, 3
"""Places on the area axis A, after 0 for all: up to 32^2 px, from there up to 96^2 px, and from there on."""


@dataclass(frozen=True, slots=True)
class Average:
    """An average precision: over all recalls, and over thresholds and categories as chosen here."""

    key: str
    threshold: int | None = None
    """Place on the axis T of IoU .50, .55, ..., .95; None averages over all ten."""
    area: int = 0
    frequency: str = ""
    """LVIS: only rare (r), common (c) or frequent (f) categories."""

    def of(self, precision: np.ndarray, frequencies: tuple[str, ...]) -> float:
        """Return the mean over precision [T, R, K, A], less categories without objects; NaN if none has."""
        thresholds = slice(None) if self.threshold is None else slice(self.threshold, self.threshold + 1)
        return mean_of_known(precision[thresholds][:, :, self.categories(frequencies), self.area])

    def categories(self, frequencies: tuple[str, ...]) -> slice | np.ndarray:
        """Return which places on the axis K count."""
        return np.flatnonzero(np.array(frequencies) == self.frequency) if self.frequency else slice(None)


@dataclass(frozen=True, slots=True)
class Recall:
    """An average recall, over all thresholds and categories."""

    key: str
    area: int
    cap: int
    """Place on the axis M of caps on detections."""

    def of(self, recall: np.ndarray) -> float:
        """Return the mean over recall [T, K, A, M], less categories without objects; NaN if none has."""
        return mean_of_known(recall[:, :, self.area, self.cap])


@dataclass(frozen=True, slots=True)
class Rules:
    """What tells one data set's AP from the other's."""

    lvis: bool
    averages: tuple[Average, ...]
    recalls: tuple[Recall, ...]


def mean_of_known(values: np.ndarray) -> float:
    """Return the mean of the entries that are not -1, added in the order the official evaluators add them."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else float("nan")


_COCO_AVERAGES = (
    Average("AP"),
    Average("AP50", threshold=0),
    Average("AP75", threshold=5),
    Average("APs", area=SMALL),
    Average("APm", area=MEDIUM),
    Average("APl", area=LARGE),
)

RULES = {
    "coco": Rules(
        lvis=False,
        averages=_COCO_AVERAGES,
        recalls=(
            Recall("AR1", 0, 0),
            Recall("AR10", 0, 1),
            Recall("AR100", 0, 2),
            Recall("ARs", SMALL, 2),
            Recall("ARm", MEDIUM, 2),
            Recall("ARl", LARGE, 2),
        ),
    ),
    "lvis": Rules(
        lvis=True,
        averages=(
            *_COCO_AVERAGES,
            Average("APr", frequency="r"),
            Average("APc", frequency="c"),
            Average("APf", frequency="f"),
        ),
        recalls=(
            Recall("AR300", 0, 0),
            Recall("ARs", SMALL, 0),
            Recall("ARm", MEDIUM, 0),
            Recall("ARl", LARGE, 0),
        ),
    ),
}
