"""What installed packages add: the entry points of a group, looked up once, since a look reads every package's file."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points


def plugins(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, sorted by name."""
    return sorted(installed(group, tuple(sys.path)), key=lambda point: point.name)


@cache
def installed(group: str, search: tuple[str, ...]) -> EntryPoints:
    """Return the entry points of the packages on a search path, which is `sys.path`."""
    return entry_points(group=group)
