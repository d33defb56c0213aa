"""What a random sample of a run's images says about all of its records: with which chance a change is noticed.

Images are drawn, without replacement and each with the same chance, and every record of a drawn image is compared. If
m of N images hold a changed record, a sample of k images misses all of them with the hypergeometric probability
C(N - m, k) / C(N, k). How many images m changed records lie in at least is known, since an image holds only so many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

CONFIDENCE = 0.95
"""Probability that a statement about a sample holds with at least; our choice, as for all intervals here."""
SHARE = 0.05
"""Share of changed images that a sample of the usual size notices with that probability; our choice."""


@dataclass(frozen=True, slots=True)
class Assurance:
    """What is known once every record of a random sample of images was found to be the same."""

    one_record: float
    """Probability, 0..1, that one changed record, wherever it is, would have been noticed."""
    records: int
    """So many changed records or more, wherever they are, would have been noticed with `probability`."""
    share: float
    """That number as a share of all records, 0..1."""
    probability: float
    """At least `CONFIDENCE`."""


def noticed(images: int, changed: int, sampled: int) -> float:
    """Return the probability, 0..1, that a random sample of images holds at least one of those that changed.

    >>> round(noticed(100, 1, 25), 3), round(noticed(100, 5, 45), 3)
    (0.25, 0.954)
    """
    # The tail is a sum of floats: a sample that is sure to hit must not come out as 0.9999999999999998.
    return 1.0 if changed + sampled > images else float(hypergeom.sf(0, images, changed, sampled))


def usual_sample(images: int) -> int:
    """Return the smallest number of images that notices with `CONFIDENCE` if `SHARE` of all images changed.

    >>> usual_sample(5000), usual_sample(104), usual_sample(3)
    (59, 40, 3)
    """
    changed = max(1, int(np.ceil(SHARE * images)))
    return next(k for k in range(1, images + 1) if noticed(images, changed, k) >= CONFIDENCE)


def assurance(records_of_images: Sequence[int], sampled: int) -> Assurance:
    """Return what a sample of images that all came out the same says about every record.

    Args:
        records_of_images: how many records each image of the run has, in any order; at least one image.
        sampled: how many images were drawn, at least 1.

    >>> assurance([16] * 104, 26).one_record, assurance([1] * 100, 100).records
    (0.25, 1)
    """
    images, counts = len(records_of_images), sorted(records_of_images, reverse=True)
    changed = next(m for m in range(1, images + 1) if noticed(images, m, sampled) >= CONFIDENCE)
    fewest = sum(counts[: changed - 1]) + 1  # more than the fullest changed - 1 images hold: they lie in others too
    return Assurance(
        one_record=sampled / images,
        records=fewest,
        share=min(1.0, fewest / max(1, sum(counts))),
        probability=noticed(images, changed, sampled),
    )
