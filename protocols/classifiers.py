"""Which classifiers Table 1 is made from, on which photos: a model of one scale cannot answer about the other's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from models.errors import BenchError, unknown_name
from protocols.paper import paper_table
from protocols.results import Row, Status

Scale = Literal["auto", "paper", "micro"]
OURS = ("SAMI", "MAE")
"""Rows that the paper's authors trained themselves begin with these."""


class Card(Protocol):
    """What is known of a classifier before it is loaded."""

    @property
    def name(self) -> str:
        """Return what commands call it."""

    @property
    def paper_row(self) -> str:
        """Return its row in Table 1."""

    @property
    def scale(self) -> Literal["paper", "micro"]:
        """Return whether its number may stand beside the paper's."""

    @property
    def filename(self) -> str | None:
        """Return its checkpoint, None if nobody can have it."""

    @property
    def why(self) -> str:
        """Return which number it is compared with, or why it has no weights."""


class Model(Protocol):
    """A classifier with its weights."""

    name: str
    checkpoint_sha256: str
    custom: bool

    def predict(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the five likeliest classes of images uint8 [H, W, 3], int64 [B, 5]."""


class Registry(Protocol):
    """`models.classifiers`."""

    @property
    def CARDS(self) -> Sequence[Card]:
        """Return all cards, in the order of the table."""

    def available(self, name: str) -> tuple[bool, str]:
        """Return whether it can be loaded here, and if not, why."""

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
    """Holds imagenet/val."""
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
        registry: the classifiers.
        scale: what the user asked for.
        models: names of classifiers or rows the user asked for; empty for all.
        checkpoints: the user's own weights by name of the classifier.
        data_root: BENCH_DATA.
        micro_root: makes the dead leaves on first use and returns their folder.

    Raises:
        BenchError: for unknown names, models of another scale, or paper scale without photos.
    """
    everyone = {card.name: card for card in registry.CARDS}
    for name in checkpoints:
        if name not in everyone:
            raise unknown_name("classifier", name, everyone)
    taken, why = _scale(registry, scale, [*models, *checkpoints], data_root)
    cards = {card.paper_row: card for card in registry.CARDS if card.scale == taken}
    wanted = {_resolve(name, cards, everyone, taken) for name in [*models, *checkpoints]} if models else set()
    for name in checkpoints:
        if everyone[name].scale != taken:
            raise _of_other_scale(name, taken)
    rows: list[Row] = []
    subjects: list[Subject] = []
    unmeasured: dict[str, tuple[Status, str]] = {}
    for label in paper_table("table1").index:
        card = cards.get(label)
        missing = _missing(registry, label, card, wanted, checkpoints)
        if card is None or missing:
            unmeasured[label] = missing or ("quoted", "")
            rows.append(Row(label, None, note=_pretraining(label)))
        else:
            subjects.append(Subject(label, card.name, checkpoints.get(card.name)))
            rows.append(Row(label, card.name, note=_note(card, checkpoints.get(card.name))))
    root = data_root if taken == "paper" and data_root is not None else micro_root()
    return Plan(taken, root, why, tuple(rows), tuple(subjects), unmeasured)


def _scale(
    registry: Registry, scale: Scale, named: Sequence[str], data_root: Path | None
) -> tuple[Literal["paper", "micro"], str]:
    """Return the scale of photos and models, and why."""
    photos = data_root is not None and (data_root / "imagenet" / "val").is_dir()
    if scale == "paper" and not photos:
        raise BenchError("--scale paper needs BENCH_DATA, a folder with imagenet/val: set it, or use --scale micro")
    if scale != "auto":
        return scale, f"{_world(scale)}, as asked"
    scales = {card.scale for card in registry.CARDS if card.name in named}
    full_size = [card.name for card in registry.CARDS if card.scale == "paper" and card.filename is not None]
    if scales == {"micro"}:
        return "micro", f"{_world('micro')}, since {named[0]} was named"
    if not photos:
        return "micro", f"{_world('micro')}, since there is no imagenet/val in BENCH_DATA"
    if scales == {"paper"} or any(registry.available(name)[0] for name in full_size):
        return "paper", f"{_world('paper')}, since photos and weights are on disk"
    return "micro", f"{_world('micro')}, since no published classifier is on disk"


def _world(scale: str) -> str:
    return (
        "ImageNet photos of BENCH_DATA and full-size models"
        if scale == "paper"
        else "dead leaves as ImageNet and micro models"
    )


def _resolve(name: str, cards: Mapping[str, Card], everyone: Mapping[str, Card], scale: str) -> str:
    """Return the row that a user's name stands for: a row of the table, or a classifier's."""
    of_row = {label.lower(): label for label in paper_table("table1").index}
    if name.lower() in of_row:
        return str(of_row[name.lower()])
    if name not in everyone:
        raise unknown_name("classifier", name, [*everyone, *of_row.values()])
    if everyone[name].scale != scale:
        raise _of_other_scale(name, scale)
    return everyone[name].paper_row


def _of_other_scale(name: str, scale: str) -> BenchError:
    other = {"paper": "micro", "micro": "paper"}[scale]
    return BenchError(f"'{name}' knows other classes than those of the {scale} scale's images: use --scale {other}")


def _missing(
    registry: Registry, label: str, card: Card | None, wanted: set[str], checkpoints: Mapping[str, Path]
) -> tuple[Status, str] | None:
    """Return why a row is not measured as (status, sentence), None if it is."""
    if wanted and label not in wanted:
        return "not requested", ""
    public = any(one.paper_row == label and one.scale == "paper" and one.filename for one in registry.CARDS)
    status: Status = "no public weights" if label.startswith(OURS) and not public else "quoted"
    if card is None:
        return status, "no micro stand-in was trained for this row"
    if card.name in checkpoints:
        return None
    if card.filename is None:
        return status, card.why
    found, why = registry.available(card.name)
    if found:
        return None
    return ("not trained yet" if card.scale == "micro" else "weights missing"), why


def _pretraining(label: str) -> str:
    """Return what the paper's row was pretrained on, if on more than ImageNet-1K."""
    data = str(paper_table("table1").at[label, "training_data"])
    return "" if data == "IN1K" else f"the paper's was pretrained on {data}"


def _note(card: Card, checkpoint: Path | None) -> str:
    """Return what a reader must know about a measured row."""
    custom = f"custom checkpoint {checkpoint.name}" if checkpoint else ""
    return "; ".join(part for part in (custom, card.why, _pretraining(card.paper_row)) if part)
