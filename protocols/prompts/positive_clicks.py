"""Clicks for models that take no background clicks: what would be one falls on the object instead."""

from __future__ import annotations

import numpy as np

from models.segmenter import FOREGROUND, Prompts
from protocols.predictors import Prediction
from protocols.prompts.random_clicks import deepest, edge_distance, farthest_from_edge
from protocols.prompts.sequences import Clicks, clicked_pixels
from protocols.prompts.truths import Truths


def on_the_object(clicks: Clicks, truths: Truths, prompts: Prompts | None, answer: Prediction | None) -> Clicks:
    """Return clicks of label 1 alone, of which those that had another label are placed anew.

    A click anew falls on the missed pixel that is farthest from the edge of what was missed and was not clicked yet,
    or, where there is none, on the object's middle.
    """
    points = clicks.points.copy()
    for row in np.flatnonzero(clicks.labels != FOREGROUND).tolist():
        truth = truths.masks[row]
        missed = edge_distance(truth if answer is None else truth & ~answer.masks[row])
        if prompts is not None:
            before = clicked_pixels(prompts, row)
            missed[before[:, 1], before[:, 0]] = 0
        points[row] = deepest(missed) if missed.any() else farthest_from_edge(truth)
    return Clicks(points, np.full_like(clicks.labels, FOREGROUND))
