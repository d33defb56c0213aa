"""What table `salient` asks: networks that find the salient object, and models that answer points in their maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import checkpoints, row_cards
from models.u2net import cards as networks
from protocols import promptable
from protocols.plan import Subject
from protocols.registry import Card

SPECS = promptable.SPECS
_NETWORKS = {card.name: card for card in networks.cards()}
_FULL_SIZE, _MICRO = ("u2net", "u2netp"), ("u2netp-micro",)
"""Networks whose maps are taken beside full-size and beside micro models: the first whose weights are here."""


@dataclass(frozen=True, slots=True)
class MapMaker:
    """The network in whose maps points are drawn."""

    name: str
    checkpoint: Path
    custom: bool
    """Whether the user named the file."""
    device: str

    @property
    def identity(self) -> dict[str, Any]:
        """Return what decides its maps, besides its code."""
        return {"name": self.name, "sha256": checkpoints.sha256_of(self.checkpoint), "device": self.device}


def cards() -> list[Card]:
    """Return all cards: the networks', then those of promptable models but for the detector's."""
    return [*_NETWORKS.values(), *(card for card in promptable.cards() if card.name != promptable.DETECTOR)]


def available(name: str) -> tuple[bool, str]:
    """Return whether a model can be loaded here, and if not, why."""
    return (networks if name in _NETWORKS else promptable).available(name)


def load(
    name: str, checkpoint: Path | None = None, *, device: str = "cpu", trusted: frozenset[str] = frozenset()
) -> Any:
    """Load a network or a promptable model.

    Raises:
        BenchError: as their own registries do.
    """
    return (networks if name in _NETWORKS else promptable).load(name, checkpoint, device=device, trusted=trusted)


def modules(name: str) -> Iterable[str]:
    """Return the names of the modules that make a model's predictions what they are."""
    return (networks if name in _NETWORKS else promptable).modules(name)


def map_maker(subjects: Sequence[Subject], given: Mapping[str, Path], device: str) -> MapMaker:
    """Return the network in whose maps points are drawn: the first one that is measured itself, or the usual one.

    Args:
        subjects: the rows that are measured.
        given: the user's own weights by name of the model.
        device: where it runs.

    Raises:
        BenchError: if its weights are not here, or not the published ones.
    """
    measured = [subject.model for subject in subjects if subject.model in _NETWORKS]
    usual = _FULL_SIZE if any(subject.card.scale == "paper" for subject in subjects) else _MICRO
    found = measured or [name for name in usual if available(name)[0]] or [*usual]
    card, own = _NETWORKS[found[0]], given.get(found[0])
    return MapMaker(card.name, row_cards.checkpoint_file(card, own), own is not None, device)
