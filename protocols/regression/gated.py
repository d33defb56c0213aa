"""What the regression gate makes, by name: the micro tables whose numbers are no times, and images of odd sizes."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from bench.data.dead_leaves.odd_sizes import NAME as ODD_SIZES
from bench.data.dead_leaves.odd_sizes import odd_sizes
from models.errors import unknown_name
from protocols import tables
from protocols.settings import Settings

ON = "@"
"""Stands between a table and what it is asked about instead of its own data."""
GATED = (
    *(f"table{number}" for number in range(1, 8)),
    "ablations",
    "figure7",
    *(f"{table}{ON}{ODD_SIZES}" for table in ("table4", "table5")),
)


def table_of(name: str) -> ModuleType:
    """Return the table that a name of `GATED`, or of a table, is about."""
    return tables.find(name.partition(ON)[0])


def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is to be made: what was named, or all.

    Raises:
        BenchError: for a name that is not gated.
    """
    for name in names:
        if name not in GATED:
            raise unknown_name("table of the regression gate", name, GATED)
    return tuple(dict.fromkeys(names)) or GATED


def name_of(table: ModuleType, settings: Settings) -> str:
    """Return what the gate calls a table under some settings."""
    return str(table.NAME) if settings.data is None else f"{table.NAME}{ON}{settings.data.name}"


def settings_of(name: str, settings: Settings) -> Settings:
    """Return the settings under which something is made."""
    if ON not in name:
        return settings
    own, boxes = odd_sizes()
    return replace(settings, data=own, boxes=boxes if name.startswith("table5") else None)
