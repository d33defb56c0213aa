"""Which models Table 3 is made from, on which photos: a model of one scale cannot answer about the other's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from models.errors import BenchError, unknown_name
from protocols.paper import paper_table
from protocols.results import Row, Status
from protocols.table3 import NAME

Scale = Literal["auto", "paper", "micro"]
WORLDS = {
    "paper": "ADE20K photos of BENCH_DATA and full-size models",
    "micro": "dead leaves as ADE20K and micro models",
}


class Card(Protocol):
    """What is known of a model before it is loaded."""

    @property
    def name(self) -> str:
        """Return what commands call it."""

    @property
    def paper_row(self) -> str:
        """Return its row in Table 3."""

    @property
    def scale(self) -> Literal["paper", "micro"]:
        """Return whether its number may stand beside the paper's."""

    @property
    def why(self) -> str:
        """Return what it stands for, or why it has no weights."""


class Model(Protocol):
    """A model with its weights."""

    name: str
    checkpoint_sha256: str
    custom: bool

    def areas(self, photo: np.ndarray, truth: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Return areas of intersection and union, int64 [classes] px each."""


class Registry(Protocol):
    """`models.mask2former.cards`."""

    @property
    def CARDS(self) -> Sequence[Card]:
        """Return all cards, in the order of the table."""

    def available(self, name: str) -> tuple[bool, str]:
        """Return whether its own weights are here, and if not, why."""

    def load(self, name: str, checkpoint: Path | None = None, *, device: str = "cpu") -> Model:
        """Load it."""


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
    """Holds ade20k/."""
    world: str
    rows: tuple[Row, ...]
    subjects: tuple[Subject, ...]
    unmeasured: Mapping[str, tuple[Status, str]]
    """(status, why) of each row that has no subject."""


def make_plan(
    registry: Registry,
    *,
    scale: Scale,
    models: Sequence[str],
    checkpoints: Mapping[str, Path],
    data_root: Path | None,
    micro_root: Callable[[], Path],
) -> Plan:
    """Decide.

    Args:
        registry: the models.
        scale: what the user asked for; auto: the paper's where its photos are there and a checkpoint of a full-size
            model is given, since none is public.
        models: names of models or rows of the table; empty for all.
        checkpoints: the user's own weights by name of the model.
        data_root: BENCH_DATA.
        micro_root: makes the dead leaves on first use and returns their folder.

    Raises:
        BenchError: for unknown names, models of another scale, or paper scale without photos.
    """
    everyone = {card.name: card for card in registry.CARDS}
    for name in checkpoints:
        if name not in everyone:
            raise unknown_name("segmentation model", name, everyone)
    taken, why = _scale(everyone, scale, [*models, *checkpoints], checkpoints, data_root)
    wanted = {_row(name, everyone, taken) for name in [*models, *checkpoints]} if models else set()
    for name in checkpoints:
        _row(name, everyone, taken)
    cards = {card.paper_row: card for card in registry.CARDS if card.scale == taken}
    rows: list[Row] = []
    subjects: list[Subject] = []
    unmeasured: dict[str, tuple[Status, str]] = {}
    for label in paper_table(NAME).index:
        card = cards.get(label)
        missing = _missing(registry, label, card, wanted, checkpoints)
        if card is None or missing:
            unmeasured[label] = missing or ("no public weights", "")
            rows.append(Row(label, None))
        else:
            own = checkpoints.get(card.name)
            subjects.append(Subject(label, card.name, own))
            rows.append(Row(label, card.name, note=f"custom checkpoint {own.name}" if own else card.why))
    root = data_root if taken == "paper" and data_root is not None else micro_root()
    return Plan(taken, root, why, tuple(rows), tuple(subjects), unmeasured)


def _scale(
    everyone: Mapping[str, Card],
    scale: Scale,
    named: Sequence[str],
    checkpoints: Mapping[str, Path],
    data_root: Path | None,
) -> tuple[Literal["paper", "micro"], str]:
    """Return the scale of photos and models, and why."""
    photos = data_root is not None and (data_root / "ade20k" / "images" / "validation").is_dir()
    if scale == "paper" and not photos:
        raise BenchError(
            "--scale paper needs BENCH_DATA, a folder with ade20k/images/validation: set it, or use --scale micro"
        )
    if scale != "auto":
        return scale, f"{WORLDS[scale]}, as asked"
    scales = {everyone[name].scale for name in named if name in everyone}
    if scales == {"micro"}:
        return "micro", f"{WORLDS['micro']}, since {named[0]} was named"
    if not photos:
        return "micro", f"{WORLDS['micro']}, since there is no ade20k/images/validation in BENCH_DATA"
    if any(everyone[name].scale == "paper" for name in checkpoints):
        return "paper", f"{WORLDS['paper']}, since photos and weights are on disk"
    return "micro", f"{WORLDS['micro']}, since no checkpoint of a full-size model was given"


def _row(name: str, everyone: Mapping[str, Card], scale: str) -> str:
    """Return the row of the table that a user's name stands for.

    Raises:
        BenchError: if it is none, or a model of another scale.
    """
    labels = {str(label).lower(): str(label) for label in paper_table(NAME).index}
    if name.lower() in labels:
        return labels[name.lower()]
    if name not in everyone:
        raise unknown_name("segmentation model", name, [*everyone, *labels.values()])
    if everyone[name].scale != scale:
        other = {"paper": "micro", "micro": "paper"}[scale]
        raise BenchError(f"'{name}' knows other classes than those of the {scale} scale's photos: use --scale {other}")
    return everyone[name].paper_row


def _missing(
    registry: Registry, label: str, card: Card | None, wanted: set[str], checkpoints: Mapping[str, Path]
) -> tuple[Status, str] | None:
    """Return why a row is not measured as (status, sentence), None if it is."""
    if wanted and label not in wanted:
        return "not requested", ""
    if card is None:
        return "no public weights", "no micro stand-in was trained for this row"
    if card.name in checkpoints:
        return None
    found, why = registry.available(card.name)
    if found:
        return None
    return ("not trained yet" if card.scale == "micro" else "no public weights"), why
