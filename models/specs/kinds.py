"""Prompts as other libraries take them: boxes apart from clicks, and no padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from models.errors import BenchError
from models.segmenter import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, PADDING, Prompts


class Kind(NamedTuple):
    """Which points of prompts [K, 2] are what; the others are padding."""

    corners: tuple[int, ...]
    """Places of the upper left and the lower right corner, or none."""
    clicks: tuple[int, ...]


def of_kinds(prompts: Prompts) -> Iterator[tuple[np.ndarray, Kind]]:
    """Yield (rows int64 [N], kind) for prompts of the same kind.

    Other libraries attend to all points that they are given, also to padding: what a prompt has not, they must not get.

    Raises:
        BenchError: if a prompt has half a box, or two.
    """
    kinds: dict[Kind, list[int]] = {}
    for row, labels in enumerate(prompts.labels.tolist()):
        corners = [place for of in (BOX_TOP_LEFT, BOX_BOTTOM_RIGHT) for place, one in enumerate(labels) if one == of]
        if [labels[place] for place in corners] not in ([], [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]):
            raise BenchError(f"a prompt has the labels {labels}: give no corner of a box (2, 3), or both of one box")
        clicks = (place for place, one in enumerate(labels) if place not in corners and one != PADDING)
        kinds.setdefault(Kind(tuple(corners), tuple(clicks)), []).append(row)
    yield from ((np.array(rows), kind) for kind, rows in kinds.items())
