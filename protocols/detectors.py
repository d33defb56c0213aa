"""Which detectors Table 2 is made from, on which photos: a model of one scale cannot answer about the other's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from models.errors import BenchError, unknown_name
from protocols.classifiers import Card, Plan, Scale, Subject
from protocols.paper import paper_table
from protocols.results import Row, Status

WORLDS = {
    "paper": "COCO val2017 of BENCH_DATA and full-size detectors",
    "micro": "dead leaves as COCO at 256 px and micro detectors",
}


class Detections(Protocol):
    """The objects found in one photo."""

    @property
    def boxes_xyxy(self) -> np.ndarray:
        """Return float64 [P, 4] px of the photo."""

    @property
    def scores(self) -> np.ndarray:
        """Return float64 [P] in 0..1."""

    @property
    def labels(self) -> np.ndarray:
        """Return int64 [P] from 1 on, in the order of category ids."""

    @property
    def masks(self) -> np.ndarray:
        """Return bool [P, H, W]."""


class Model(Protocol):
    """A detector with its weights."""

    name: str
    checkpoint_sha256: str
    custom: bool
    classes: int

    def detect(self, photos: Sequence[np.ndarray]) -> Sequence[Detections]:
        """Return what is in photos uint8 [H, W, 3]."""


class Registry(Protocol):
    """`models.detectors`."""

    @property
    def CARDS(self) -> Sequence[Card]:
        """Return all cards, in the order of the table."""

    def available(self, name: str) -> tuple[bool, str]:
        """Return whether it can be loaded here, and if not, why."""

    def load(self, name: str, checkpoint: Path | None = None, *, device: str = "cpu") -> Model:
        """Load it."""


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
        registry: the detectors.
        scale: what the user asked for.
        models: names of detectors or rows the user asked for; empty for all.
        checkpoints: the user's own weights by name of the detector.
        data_root: BENCH_DATA.
        micro_root: makes the dead leaves on first use and returns their folder.

    Raises:
        BenchError: for unknown names, models of another scale, or paper scale without photos.
    """
    everyone = {card.name: card for card in registry.CARDS}
    rows_named = {str(label).lower(): str(label) for label in paper_table("table2").index}
    for name in checkpoints:
        if name not in everyone:
            raise unknown_name("detector", name, everyone)
    taken, why = _scale(registry, scale, [*models, *checkpoints], data_root)
    wanted = set()
    for name in [*models, *checkpoints]:
        if name.lower() not in rows_named and name not in everyone:
            raise unknown_name("detector", name, [*everyone, *rows_named.values()])
        if name in everyone and everyone[name].scale != taken:
            other = {"paper": "micro", "micro": "paper"}[taken]
            raise BenchError(f"'{name}' knows other classes than those of the {taken} scale: use --scale {other}")
        wanted.add(rows_named.get(name.lower()) or everyone[name].paper_row)
    cards = {card.paper_row: card for card in registry.CARDS if card.scale == taken}
    rows: list[Row] = []
    subjects: list[Subject] = []
    unmeasured: dict[str, tuple[Status, str]] = {}
    for label in rows_named.values():
        card = cards.get(label)
        missing = _missing(registry, label, card, wanted if models else set(), checkpoints)
        if card is None or missing:
            unmeasured[label] = missing or ("no public weights", "")
            rows.append(Row(label, None))
        else:
            own = checkpoints.get(card.name)
            note = "; ".join(part for part in (f"custom checkpoint {own.name}" if own else "", card.why) if part)
            subjects.append(Subject(label, card.name, own))
            rows.append(Row(label, card.name, note=note))
    root = data_root if taken == "paper" and data_root is not None else micro_root()
    return Plan(taken, root, why, tuple(rows), tuple(subjects), unmeasured)


def _scale(
    registry: Registry, scale: Scale, named: Sequence[str], data_root: Path | None
) -> tuple[Literal["paper", "micro"], str]:
    """Return the scale of photos and models, and why."""
    photos = data_root is not None and (data_root / "coco" / "val2017").is_dir()
    if scale == "paper" and not photos:
        raise BenchError("--scale paper needs BENCH_DATA, a folder with coco/val2017: set it, or use --scale micro")
    if scale != "auto":
        return scale, f"{WORLDS[scale]}, as asked"
    if {card.scale for card in registry.CARDS if card.name in named} == {"micro"}:
        return "micro", f"{WORLDS['micro']}, since {named[0]} was named"
    if not photos:
        return "micro", f"{WORLDS['micro']}, since there is no coco/val2017 in BENCH_DATA"
    full_size = [card.name for card in registry.CARDS if card.scale == "paper"]
    if any(name in named or registry.available(name)[0] for name in full_size):
        return "paper", f"{WORLDS['paper']}, since photos and weights are on disk"
    return "micro", f"{WORLDS['micro']}, since no published detector is on disk"


def _missing(
    registry: Registry, label: str, card: Card | None, wanted: set[str], checkpoints: Mapping[str, Path]
) -> tuple[Status, str] | None:
    """Return why a row is not measured as (status, sentence), None if it is."""
    if wanted and label not in wanted:
        return "not requested", ""
    if card is None:
        full = next((one for one in registry.CARDS if one.paper_row == label), None)
        if full is not None and full.filename is not None:
            return "quoted", f"no micro stand-in; {full.name} has public weights, use --scale paper"
        return "no public weights", f"no micro stand-in either; {full.why if full else ''}"
    if card.name in checkpoints:
        return None
    if card.filename is None:
        return "no public weights", card.why
    found, why = registry.available(card.name)
    if found:
        return None
    return ("not trained yet" if card.scale == "micro" else "weights missing"), why
