"""Axes as a command names them: read, checked against each other, and what a run with such a choice is called."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from models.errors import BenchError, unknown_name
from protocols.axes import NEEDS, PRESETS, Axes, in_effect, means_something
from protocols.defaults import of
from protocols.settings import Settings

NAMES = tuple(field.name for field in fields(Axes))
_SMALLEST = {"repeats": 1, "most_clicks": 1}
"""Of numbers; those of other axes are 0 or more."""


def read_axes(entries: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE entries.

    Raises:
        BenchError: for an unknown axis or value, with the nearest known one, or for an axis that is given twice.
    """
    found: dict[str, Any] = {}
    for entry in entries:
        name, equals, text = (part.strip() for part in entry.partition("="))
        if not equals or not text:
            raise BenchError(f"--axis takes NAME=VALUE, got '{entry}': e.g. mask_pick=single; `bench list axes`")
        if name not in NAMES:
            raise unknown_name("axis", name, NAMES)
        value = _value(name, text)
        if found.setdefault(name, value) != value:
            raise BenchError(f"axis {name} is given twice, as {shown(found[name])} and {shown(value)}: give it once")
    return found


def _value(name: str, text: str) -> Any:
    kind = _kinds()[name]
    if get_origin(kind) is Literal:
        known = {shown(value): value for value in get_args(kind)}
        if text not in known:
            raise unknown_name(f"value of axis {name}", text, known)
        return known[text]
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise unknown_name(f"value of axis {name}", text, ("false", "true"))
        return text.lower() == "true"
    if kind in (int, float):
        return _number(name, text, kind)
    return None if text == "all" else tuple(part.strip() for part in text.split(","))


def _number(name: str, text: str, kind: type) -> Any:
    least = _SMALLEST.get(name, 0)
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        what = "a whole number" if kind is int else "a number"
        raise BenchError(f"axis {name} takes {what} of at least {least}, got '{text}': correct it")
    return value


@cache
def _kinds() -> dict[str, Any]:
    return get_type_hints(Axes)


def values_of(name: str) -> str:
    """Say which values an axis takes, its usual one first.

    >>> values_of("clicks"), values_of("click_again"), values_of("repeats")
    ('random | centre | ritm', 'true | false', '1, 2, ...')
    """
    kind, usual = _kinds()[name], getattr(PRESETS["paper"], name)
    if get_origin(kind) is Literal:
        return " | ".join(shown(value) for value in get_args(kind))
    if kind is bool:
        return f"{shown(usual)} | {shown(not usual)}"
    if kind is int:
        least = _SMALLEST.get(name, 0)
        return f"{least}, {least + 1}, ..."
    return "a number >= 0" if kind is float else "all | KEY,KEY,..."


def shown(value: object) -> str:
    """Return a value as commands write it.

    >>> shown(False), shown(None), shown(("coco_box", "coco_1click")), shown(1024.0)
    ('false', 'all', 'coco_box,coco_1click', '1024')
    """
    if value is None:
        return "all"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


@cache
def meanings() -> Mapping[str, str]:
    """Return what each axis is, by name: the words below its field."""
    (tree,) = ast.parse(inspect.getsource(Axes)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            assert isinstance(below.value, ast.Constant)
            found[field.target.id] = " ".join(str(below.value.value).split())
    return found


def concerning(table: ModuleType) -> tuple[str, ...]:
    """Return the axes that concern a table: what is asked, how it is scored, or what is compared with the paper."""
    asked, scored = of(table, "ASKED_WITH"), of(table, "SCORED_WITH")
    if asked is None:
        return NAMES
    apart = [name for names in of(table, "MATTERS").values() for name in names]
    return tuple(name for name in NAMES if name in {*asked, *scored, *apart, "precision", "columns"})


def for_table(table: ModuleType, settings: Settings) -> Settings:
    """Return the settings of one table: with its usual axes where no preset was chosen, and called by what they are.

    Raises:
        BenchError: if axes that the user named contradict each other.
    """
    usual = of(table, "USUAL") if settings.preset == "paper" else {}
    own = {name: value for name, value in usual.items() if name not in settings.named}
    axes = replace(settings.axes, **own)
    concerned = concerning(table)
    for name in settings.named:
        if name in concerned and not means_something(axes, name):
            needed = " or ".join(f"clicks={value}" for value in NEEDS[name])
            raise BenchError(
                f"axis {name}={shown(getattr(axes, name))} contradicts clicks={axes.clicks} of {table.NAME}, where "
                f"it means nothing: add --axis {needed}, or leave it out"
            )
    return replace(settings, axes=axes, preset=called(table, axes, settings.preset))


def check_named(tables: Sequence[ModuleType], named: Sequence[str]) -> None:
    """Raise a BenchError if an axis that was named concerns none of the tables of a command."""
    for name in named:
        if not any(name in concerning(table) for table in tables):
            which = ", ".join(table.NAME for table in tables)
            known = ", ".join(dict.fromkeys(axis for table in tables for axis in concerning(table)))
            raise BenchError(
                f"axis {name} concerns nothing that {which} measures: leave it out, or take one of {known}"
            )


def called(table: ModuleType, axes: Axes, asked_for: str = "paper") -> str:
    """Return the name of a table's axes: the preset that they are, or the nearest one and what differs from it.

    Only axes that concern the table and have an effect count; of equally near presets the one asked for is named, else
    the first.
    """
    names = [name for name in concerning(table) if name != "columns"]
    keys = {column.key for column in table.COLUMNS}
    near = [
        (preset, list(differing(axes, PRESETS[preset], names)))
        for preset in sorted(PRESETS, key=lambda preset: preset != asked_for)
        if PRESETS[preset].columns is None or keys & set(PRESETS[preset].columns or ())
    ]
    name, differences = min(near, key=lambda one: len(one[1]))
    return f"{name}, but {', '.join(differences)}" if differences else name


def differing(axes: Axes, other: Axes, names: Sequence[str]) -> Iterator[str]:
    """Yield NAME=VALUE of the axes in effect that other axes set otherwise."""
    for name, value in in_effect(axes, names).items():
        if value != getattr(other, name):
            yield f"{name}={shown(value)}"


def set_by(name: str) -> dict[str, str]:
    """Return how each preset sets an axis, by preset: those that set it otherwise than the paper, and the paper's."""
    usual = getattr(PRESETS["paper"], name)
    return {
        preset: shown(getattr(axes, name))
        for preset, axes in PRESETS.items()
        if preset == "paper" or getattr(axes, name) != usual
    }
