"""What table `everything` asks: the models of the zoo. What needs no weights only ever answers a prompt."""

from __future__ import annotations

from protocols import promptable
from protocols.promptable import SPECS, available, load, modules
from protocols.registry import Card

__all__ = ["SPECS", "available", "cards", "load", "modules"]


def cards() -> list[Card]:
    """Return all cards, in the zoo's order."""
    return [card for card in promptable.cards() if card.name not in promptable.WEIGHTLESS]
