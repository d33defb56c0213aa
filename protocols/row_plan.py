"""Which models a table of rows is made from, on which photos: a model of one scale cannot answer about the other's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, Protocol

from models.errors import BenchError, unknown_name
from protocols.paper import paper_table
from protocols.results import Row, Status

Scale = Literal["auto", "paper", "micro"]


class Card(Protocol):
    """What is known of a model before it is loaded."""

    @property
    def name(self) -> str:
        """Return what commands call it."""

    @property
    def paper_row(self) -> str:
        """Return its row in the table."""

    @property
    def scale(self) -> Literal["paper", "micro"]:
        """Return whether its number may stand beside the paper's."""

    @property
    def filename(self) -> str | None:
        """Return its checkpoint, None if nobody can have it."""

    @property
    def why(self) -> str:
        """Return which number it is compared with, or why it has no weights."""


class Cards(Protocol):
    """A module of cards: `models.classifier.cards`, `models.vitdet.cards` or `models.mask2former.cards`."""

    @property
    def CARDS(self) -> Sequence[Card]:
        """Return all cards, in the order of the table."""

    def available(self, name: str) -> tuple[bool, str]:
        """Return whether a model can be loaded here, and if not, why."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A row that is measured."""

    row: str
    model: str
    checkpoint: Path | None
    """The user's own weights."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Decisions made before anything runs."""

    scale: Literal["paper", "micro"]
    root: Path
    """Holds the photos."""
    world: str
    rows: tuple[Row, ...]
    subjects: tuple[Subject, ...]
    unmeasured: Mapping[str, tuple[Status, str]]
    """(status, why) of each row that has no subject."""


def make_plan(
    table: ModuleType,
    registry: Cards,
    *,
    scale: Scale,
    models: Sequence[str],
    checkpoints: Mapping[str, Path],
    data_root: Path | None,
    micro_root: Callable[[], Path],
) -> Plan:
    """Choose data and models for a table.

    Args:
        table: its module.
        registry: its models.
        scale: what the user asked for; auto: the paper's where its photos are there, and weights are or a full-size
            model was named.
        models: names of models or rows the user asked for; empty for all.
        checkpoints: the user's own weights by name of the model.
        data_root: BENCH_DATA.
        micro_root: makes the dead leaves on first use and returns their folder.

    Raises:
        BenchError: for unknown names, models of another scale, or paper scale without photos.
    """
    everyone = {card.name: card for card in registry.CARDS}
    for name in checkpoints:
        if name not in everyone:
            raise unknown_name(table.MODELS, name, everyone)
    named = [*models, *checkpoints]
    taken, why = _scale(table, registry, scale, named, data_root)
    for name in checkpoints:
        _check_scale(everyone[name], taken)
    wanted = {_row(table, name, everyone, taken) for name in models}
    unasked = [name for name in checkpoints if models and everyone[name].paper_row not in wanted]
    if unasked:
        raise BenchError(
            f"--checkpoint is for '{unasked[0]}', which --models does not name: add it there, or leave one of them out"
        )
    cards = {card.paper_row: card for card in registry.CARDS if card.scale == taken}
    rows: list[Row] = []
    subjects: list[Subject] = []
    unmeasured: dict[str, tuple[Status, str]] = {}
    for label in paper_table(table.NAME).index:
        card = cards.get(label)
        missing = _missing(table, registry, label, card, wanted if models else set(), checkpoints)
        if card is None or missing:
            unmeasured[label] = missing or ("quoted", "")
            rows.append(Row(label, None, note=table.note(label)))
        else:
            own = checkpoints.get(card.name)
            notes = (f"custom checkpoint {own.name}" if own else "", card.why, table.note(label))
            subjects.append(Subject(label, card.name, own))
            rows.append(Row(label, card.name, note="; ".join(note for note in notes if note)))
    root = data_root if taken == "paper" and data_root is not None else micro_root()
    return Plan(taken, root, why, tuple(rows), tuple(subjects), unmeasured)


def _scale(
    table: ModuleType, registry: Cards, scale: Scale, named: Sequence[str], data_root: Path | None
) -> tuple[Literal["paper", "micro"], str]:
    """Return the scale of photos and models, and why."""
    photos = data_root is not None and (data_root / table.PHOTOS).is_dir()
    if scale == "paper" and not photos:
        raise BenchError(f"--scale paper needs BENCH_DATA, a folder with {table.PHOTOS}: set it, or use --scale micro")
    if scale != "auto":
        return scale, f"{table.WORLDS[scale]}, as asked"
    scales = {card.scale for card in registry.CARDS if card.name in named}
    if scales == {"micro"}:
        return "micro", f"{table.WORLDS['micro']}, since {named[0]} was named"
    if not photos:
        return "micro", f"{table.WORLDS['micro']}, since there is no {table.PHOTOS} in BENCH_DATA"
    full_size = [card.name for card in registry.CARDS if card.scale == "paper" and card.filename is not None]
    if scales == {"paper"} or any(registry.available(name)[0] for name in full_size):
        return "paper", f"{table.WORLDS['paper']}, since photos and weights are on disk"
    return "micro", f"{table.WORLDS['micro']}, since no published {table.MODELS} is on disk"


def _row(table: ModuleType, name: str, everyone: Mapping[str, Card], scale: str) -> str:
    """Return the row of the table that a user's name stands for.

    Raises:
        BenchError: if it is none, or a model of another scale.
    """
    labels = {str(label).lower(): str(label) for label in paper_table(table.NAME).index}
    if name.lower() in labels:
        return labels[name.lower()]
    if name not in everyone:
        raise unknown_name(table.MODELS, name, [*everyone, *labels.values()])
    _check_scale(everyone[name], scale)
    return everyone[name].paper_row


def _check_scale(card: Card, scale: str) -> None:
    if card.scale != scale:
        raise BenchError(
            f"'{card.name}' knows other classes than those of the {scale} scale's images: use --scale {card.scale}"
        )


def _missing(
    table: ModuleType,
    registry: Cards,
    label: str,
    card: Card | None,
    wanted: set[str],
    checkpoints: Mapping[str, Path],
) -> tuple[Status, str] | None:
    """Return why a row is not measured as (status, sentence), None if it is."""
    if wanted and label not in wanted:
        return "not requested", ""
    full = next((one for one in registry.CARDS if one.paper_row == label and one.scale == "paper"), None)
    public = full is not None and full.filename is not None
    status: Status = "no public weights" if label.startswith(table.OURS) and not public else "quoted"
    if card is None:
        more = f"{full.name} has public weights, use --scale paper" if full and public else full.why if full else ""
        return status, "; ".join(part for part in ("no micro stand-in was trained for this row", more) if part)
    if card.name in checkpoints:
        return None
    if card.filename is None:
        return status, card.why
    found, why = registry.available(card.name)
    if found:
        return None
    return ("not trained yet" if card.scale == "micro" else "weights missing"), why
