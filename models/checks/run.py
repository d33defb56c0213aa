"""All checks of a model, in turn; whatever one raises is its finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from models.checks import contract, cost, places, repeats
from models.checks.verdict import Check, Verdict, undecided, wrong
from models.errors import BenchError

CHECKS = (
    Check("contract", contract.contract, images=2, first=True),
    Check("masks", contract.masks, images=1, first=True),
    Check("predicted IoU", contract.predicted_iou, images=1),
    Check("prompts", contract.prompts_taken, images=1),
    Check("boxes", places.boxes, images=3),
    Check("clicks", places.single_clicks, images=3),
    Check("determinism", repeats.determinism, images=2),
    Check("prompts together", repeats.prompts_together, images=1),
    Check("images apart", repeats.images_apart, images=5),
    Check("image sizes", cost.sizes, images=len(cost.SIZES)),
    Check("memory", cost.memory, images=1),
    Check("time", cost.time, images=1 + cost.CALLS),
)
IMAGES = sum(check.images for check in CHECKS)
"""How many images are encoded in all."""


def run_checks(model: Any, advance: Callable[[int], None] = lambda images: None) -> Iterator[tuple[str, Verdict]]:
    """Yield the name and the verdict of each check.

    Args:
        model: what should be a `models.segmenter.Segmenter`.
        advance: told of images as they are done, `IMAGES` in all.
    """
    broken = ""
    for check in CHECKS:
        if broken:
            verdict = undecided(f"not checked: mend what is wrong with '{broken}' first")
        else:
            verdict = _guarded(check, model)
            broken = check.name if check.first and verdict.outcome == "wrong" else ""
        advance(check.images)
        yield check.name, verdict


def _guarded(check: Check, model: Any) -> Verdict:
    try:
        with torch.inference_mode():
            return check.function(model)
    except BenchError as error:
        return wrong(str(error))
    except Exception as error:  # other people's code: anything may come out of it
        return wrong(f"{type(error).__name__}: {error}")
