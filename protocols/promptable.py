"""What answers prompts: the models of the zoo, and those that need no weights; the registry of Tables 4 and 5."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models import specs, zoo
from models.cards import ModelCard
from protocols.predictors import BOUNDS

SPECS = specs.PREFIXES
"""Kinds of models named PREFIX:REST that can be asked, by prefix."""
DETECTOR = "detector"
"""Name of the model whose masks are the detector's own."""


@dataclass(frozen=True, slots=True)
class Weightless:
    """Card of something that needs no weights."""

    name: str
    paper_row: str | None
    note: str
    scale: Literal["any"] = "any"
    released: bool = True
    threads: int | None = None
    checkpoint_sha256: None = None
    custom: bool = False


WEIGHTLESS = {
    card.name: card
    for card in (
        Weightless(DETECTOR, "ViTDet-H", "the detector's own masks, from its box file"),
        Weightless("floor", None, "the box filled, or a disc around each click: what no model should fall below"),
        Weightless("ceiling", None, "the ground truth resized to the models' input and back: what none can pass"),
    )
}


def cards() -> list[ModelCard | Weightless]:
    """Return all cards: the zoo's, in its order, then those without weights."""
    return [*(zoo.card(name) for name in zoo.names()), *WEIGHTLESS.values()]


def available(name: str) -> tuple[bool, str]:
    """Return whether a model can be loaded here, and if not, why."""
    return (True, "") if name in WEIGHTLESS else zoo.available(name)


def load(
    name: str, checkpoint: Path | None = None, *, device: str = "cpu", trusted: frozenset[str] = frozenset()
) -> Any:
    """Return a segmenter of the zoo, or a predictor without weights, or the card of the detector.

    Raises:
        BenchError: as `zoo.load`.
    """
    if name in BOUNDS:
        return BOUNDS[name]()
    return WEIGHTLESS.get(name) or zoo.load(name, checkpoint=checkpoint, device=device, trusted=trusted)


def modules(name: str) -> Iterable[str]:
    """Return the names of the modules that make a model's predictions what they are."""
    return () if name in WEIGHTLESS else zoo.modules(name)
