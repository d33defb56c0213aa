"""What a table's module need not say: attributes of `protocols.tables.Table` that have a usual value."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from protocols.results import OVER_IMAGES

MIXED = False
ASKED_WITH: tuple[str, ...] | None = None
SCORED_WITH: tuple[str, ...] = ()
TIMES: tuple[str, ...] = ()
USUAL: dict[str, Any] = {}
MATTERS: dict[str, tuple[str, ...]] = {}
NEVER_RELEASED: dict[str, str] = {}
CONTROLS: tuple[str, ...] = ()
OURS: tuple[str, ...] = ("",)
EXACT = False
TRAINED_WITH = ""
TASK = "mask-generation"
METRIC = ""
WATCHED = None


def note(label: str) -> str:
    """Return what a reader must know about the paper's row: nothing."""
    return ""


def has_column(key: str, axes: Any) -> bool:
    """Return whether a column can be measured under some axes: all can."""
    return True


def saved(data: Any, settings: Any) -> Mapping[str, Any]:
    """Return predictions that were saved when models were trained: none."""
    return {}


def pictures(measured: Any) -> Mapping[str, bytes]:
    """Return PNGs that go with the table: none."""
    return {}


def count_prompts(published: Any, axes: Any) -> int:
    """Return how many prompts models are asked about a published set: none."""
    return 0


def state() -> str:
    """Say what a table with a `make` of its own can be made of here."""
    return "from records of trainings"


def pairing(measured: Any) -> str:
    """Say how rows are compared."""
    return OVER_IMAGES


def of(table: ModuleType, name: str) -> Any:
    """Return an attribute of a table's module, or its usual value."""
    return getattr(table, name) if hasattr(table, name) else globals()[name]
