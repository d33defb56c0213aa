"""The models that a table can ask: a module of cards, each what is known of a model before it is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol


class Card(Protocol):
    """What is known of a model before it is loaded."""

    @property
    def name(self) -> str:
        """Return what commands call it."""

    @property
    def paper_row(self) -> str | None:
        """Return its row in the paper's tables, if it has one."""

    @property
    def scale(self) -> Literal["paper", "micro", "any"]:
        """Return whether its numbers may stand beside the paper's; any: it has no weights, and stands for itself."""

    @property
    def released(self) -> bool:
        """Whether anyone can have its weights."""

    @property
    def threads(self) -> int | None:
        """Return how many CPU threads are fastest, None for all there are."""

    @property
    def note(self) -> str:
        """Return what a reader must know, or why there are no weights."""


class Registry(Protocol):
    """A module of cards: `protocols.promptable`, `models.classifier.cards`, ...

    If it has a collection `SPECS` of prefixes (`models.specs`), it takes names PREFIX:REST of these too.
    """

    def cards(self) -> Sequence[Card]:
        """Return all cards, in the order of the table."""

    def available(self, name: str) -> tuple[bool, str]:
        """Return whether a model can be loaded here, and if not, why."""

    def load(
        self, name: str, checkpoint: Path | None = None, *, device: str = "cpu", trusted: frozenset[str] = frozenset()
    ) -> Any:
        """Load a model."""

    def modules(self, name: str) -> Iterable[str]:
        """Return the names of the modules that make a model's predictions what they are."""


def registry_of(table: ModuleType) -> Registry:
    """Return the models of a table."""
    registry: Any = importlib.import_module(table.CARDS)
    return registry  # type: ignore[no-any-return]
