"""Which data and which models a table is made from, and why: decided before anything runs.

`auto` takes the published data where BENCH_DATA has them and the full-size models whose checkpoints are on disk, else
the dead leaves and the micro models, and always says what it took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from models import specs
from models.errors import BenchError, unknown_name
from protocols.defaults import of
from protocols.paper import paper_table
from protocols.registry import Card, Registry, registry_of
from protocols.results import Row, Status
from protocols.settings import Settings

Size = Literal["paper", "micro"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A row that is measured."""

    row: str
    """Its label in the table."""
    card: Card
    checkpoint: Path | None = None
    """The user's own weights."""

    @property
    def model(self) -> str:
        """Return what commands call it."""
        return self.card.name


@dataclass(frozen=True, slots=True)
class Plan:
    """Decisions made before anything runs."""

    scale: Literal["paper", "micro", "mixed"]
    data_scale: Size
    root: Path
    """Folder of the data."""
    world: str
    """One line on data and models, and why these."""
    rows: tuple[Row, ...]
    subjects: tuple[Subject, ...]
    unmeasured: Mapping[str, tuple[Status, str]]
    """(status, why) of each row that has no subject."""


class World(NamedTuple):
    """Data and models of a table."""

    data: Size
    models: Size
    words: str


class _Line(NamedTuple):
    """A row, with what is measured in it or why nothing is."""

    row: Row
    subject: Subject | None = None
    missing: tuple[Status, str] | None = None


def make_plan(table: ModuleType, settings: Settings) -> Plan:
    """Choose data and models for a table.

    Raises:
        BenchError: for unknown names, models that know another scale's classes, or paper scale without data.
    """
    registry = registry_of(table)
    cards = _cards(table, registry, settings)
    world = (_each_scale if of(table, "MIXED") else _one_scale)(table, registry, settings)
    of_row = {card.paper_row: card for card in reversed(cards.values()) if card.scale in (world.models, "any")}
    labels = [str(label) for label in paper_table(table.NAME).index]
    wanted = [_named(table, name, cards, labels, of_row, world, settings) for name in settings.models]
    _check_checkpoints(table, cards, wanted, world, settings)
    lines = [_paper_line(table, registry, label, of_row.get(label), wanted, settings) for label in labels]
    if world.models == "micro" and not wanted:
        lines += [_control_line(registry, cards[name]) for name in of(table, "CONTROLS") if name in cards]
    known = {*labels, *(line.subject.model for line in lines if line.subject)}
    for name in dict.fromkeys([*wanted, *settings.checkpoints]):
        if name not in known and cards[name].scale != "any":
            subject = Subject(name, cards[name], settings.checkpoints.get(name))
            lines.append(_Line(Row(name, name, "extra", _note(subject)), subject))
    for card in cards.values():
        if card.scale == "any" and card.paper_row is None and (not wanted or card.name in wanted):
            lines.append(_Line(Row(card.name, card.name, "bound", card.note), Subject(card.name, card)))
    subjects = tuple(line.subject for line in lines if line.subject)
    scales = {world.data, *(subject.card.scale for subject in subjects)} - {"any"}
    return Plan(
        scale=world.data if len(scales) == 1 else "mixed",
        data_scale=world.data,
        root=_root(table, world, settings),
        world=world.words,
        rows=tuple(line.row for line in lines),
        subjects=subjects,
        unmeasured={line.row.label: line.missing for line in lines if line.missing},
    )


def _cards(table: ModuleType, registry: Registry, settings: Settings) -> dict[str, Card]:
    """Return the models of a table and those that a user's names describe, by name."""
    cards = {card.name: card for card in registry.cards()}
    for name in settings.models:
        if name not in cards and specs.is_spec(name):
            cards[name] = specs.card(name, getattr(registry, "SPECS", ()))
            found, why = registry.available(name)
            if not found:
                raise BenchError(why)
    for name in settings.checkpoints:
        if name not in cards:
            raise unknown_name(table.MODELS, name, cards)
    return cards


def _paper_line(
    table: ModuleType,
    registry: Registry,
    label: str,
    card: Card | None,
    wanted: Sequence[str],
    settings: Settings,
) -> _Line:
    """Return a row of the paper's, measured on a model of this scale if there is one."""
    note = of(table, "note")(label) if settings.data is None else ""  # none of the paper's numbers is shown there
    missing = _missing(table, registry, label, card, wanted, settings)
    if card is None or missing:
        return _Line(Row(label, None, note=note), missing=missing or ("quoted", ""))
    subject = Subject(label, card, settings.checkpoints.get(card.name))
    return _Line(Row(label, card.name, note=_note(subject, note)), subject)


def _control_line(registry: Registry, card: Card) -> _Line:
    """Return a row of ours for models without pretraining."""
    found, why = registry.available(card.name)
    if found:
        return _Line(Row(card.name, card.name, "extra", card.note), Subject(card.name, card))
    return _Line(Row(card.name, None, "extra", card.note), missing=("not trained yet", why))


def _one_scale(table: ModuleType, registry: Registry, settings: Settings) -> World:
    """Choose for a table whose models can only be asked about the classes that they were trained for."""
    root, named = settings.data_root, [*settings.models, *settings.checkpoints]
    photos = root is not None and (root / table.PHOTOS).is_dir()
    if settings.scale == "paper" and not photos:
        raise BenchError(f"--scale paper needs BENCH_DATA, a folder with {table.PHOTOS}: set it, or use --scale micro")
    given = {"paper" for name in named if specs.is_spec(name)}
    scales = given | {card.scale for card in registry.cards() if card.name in named}
    full_size = [card.name for card in registry.cards() if card.scale == "paper" and card.released]
    taken: Size = "micro"
    if settings.scale != "auto":
        taken, why = settings.scale, "as asked"
    elif scales == {"micro"}:
        why = f"since {named[0]} was named"
    elif not photos:
        why = f"since there is no {table.PHOTOS} in BENCH_DATA"
    elif scales == {"paper"} or any(registry.available(name)[0] for name in full_size):
        taken, why = "paper", f"since photos {'' if given else 'and weights '}are on disk"
    else:
        why = f"since no published {table.MODELS} is on disk"
    return World(taken, taken, f"{table.WORLDS[taken]}, {why}")


def _each_scale(table: ModuleType, registry: Registry, settings: Settings) -> World:
    """Choose data and models apart: a promptable model can be asked about any photo."""
    root, scale, own = settings.data_root, settings.scale, settings.data
    if own is not None:
        size, words = _size(table, registry, settings)
        return World("paper", size, f"data: {own.annotations} in {own.form.upper()}'s format; {words}")
    if scale == "paper" and root is None:
        raise BenchError("--scale paper needs BENCH_DATA, the folder of coco/ and lvis/: set it, or use --scale micro")
    data: Size = "micro"
    data_words = f"data: {table.WORLDS['micro']}, {'as asked' if scale == 'micro' else 'since BENCH_DATA is not set'}"
    if scale != "micro" and root is not None:
        if not root.is_dir():
            raise BenchError(f"BENCH_DATA is '{root}', which is no folder: correct it, or use --scale micro")
        data, data_words = "paper", table.WORLDS["paper"]
    size, words = _size(table, registry, settings)
    return World(data, size, f"{data_words}; {words}")


def _root(table: ModuleType, world: World, settings: Settings) -> Path:
    """Return the folder of the data."""
    if settings.data is not None:
        return settings.data.images
    return settings.data_root if world.data == "paper" and settings.data_root else table.micro_root()


def _size(table: ModuleType, registry: Registry, settings: Settings) -> tuple[Size, str]:
    """Return whether rows stand for full-size or micro models, and why."""
    if settings.scale != "auto":
        return settings.scale, f"{'full-size' if settings.scale == 'paper' else 'micro'} models, as asked"
    labels = set(paper_table(table.NAME).index)
    full = [card.name for card in registry.cards() if card.scale == "paper" and card.paper_row in labels]
    named = [name for name in [*settings.models, *settings.checkpoints] if name in full]
    if named:
        return "paper", f"full-size models, since {named[0]} was named"
    if any(registry.available(name)[0] for name in full):
        return "paper", "full-size models, since published checkpoints are on disk"
    return "micro", "micro models, since no published checkpoint is on disk"


def _named(
    table: ModuleType,
    name: str,
    cards: Mapping[str, Card],
    labels: Sequence[str],
    of_row: Mapping[str | None, Card],
    world: World,
    settings: Settings,
) -> str:
    """Return the model that a user's name stands for: itself, or that of a row of the table, or a row without one.

    Raises:
        BenchError: if it is neither, or a model of another scale.
    """
    label = next((label for label in labels if label.lower() == name.lower()), None)
    if name in cards and not (settings.scale == "micro" and label):
        _check_scale(table, cards[name], world)
        return name
    if label is None:
        bounds = [card.name for card in cards.values() if card.scale == "any"]
        raise unknown_name(table.MODELS, name, dict.fromkeys([*cards, *bounds, *labels]))
    return of_row[label].name if label in of_row else label


def _check_scale(table: ModuleType, card: Card, world: World) -> None:
    given = specs.is_spec(card.name)  # what it knows, nobody can tell before it is asked
    if not of(table, "MIXED") and card.scale != world.models and not given:
        raise BenchError(
            f"'{card.name}' knows other classes than those of the {world.models} scale's images: use "
            f"--scale {card.scale}"
        )


def _check_checkpoints(
    table: ModuleType, cards: Mapping[str, Card], wanted: Sequence[str], world: World, settings: Settings
) -> None:
    for name in settings.checkpoints:
        _check_scale(table, cards[name], world)
        if wanted and name not in wanted:
            raise BenchError(
                f"--checkpoint is for '{name}', which --models does not name: add it there, or leave one of them out"
            )


def _missing(
    table: ModuleType, registry: Registry, label: str, card: Card | None, wanted: Sequence[str], settings: Settings
) -> tuple[Status, str] | None:
    """Return why a row is not measured as (status, sentence), None if it is."""
    if wanted and label not in wanted and (card is None or card.name not in wanted):
        return "not requested", ""
    full = next((one for one in registry.cards() if one.paper_row == label and one.scale == "paper"), None)
    public = full is not None and full.released
    status: Status = "no public weights" if label.startswith(of(table, "OURS")) and not public else "quoted"
    if card is None:
        if full is None and label in of(table, "NEVER_RELEASED"):
            return status, of(table, "NEVER_RELEASED")[label]
        more = f"{full.name} has public weights, use --scale paper" if full and public else full.note if full else ""
        return status, "; ".join(part for part in ("no micro stand-in was trained for this row", more) if part)
    if card.name in settings.checkpoints:
        return None
    if not card.released:
        return status, card.note
    found, why = registry.available(card.name)
    if found:
        return None
    untrained = card.scale == "micro" and getattr(card, "requires", None) is None
    return ("not trained yet" if untrained else "weights missing"), why


def _note(subject: Subject, note: str = "") -> str:
    """Return what a reader must know about a measured row."""
    custom = f"custom checkpoint {subject.checkpoint.name}" if subject.checkpoint else ""
    return "; ".join(part for part in (custom, subject.card.note, note) if part)
