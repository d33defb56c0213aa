"""What installed packages add: the entry points of a group, looked up once, since a look reads every package's file."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from models.errors import BenchError


def plugins(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, sorted by name."""
    return sorted(installed(group, tuple(sys.path)), key=lambda point: point.name)


def load(point: EntryPoint) -> Any:
    """Return what an entry point stands for.

    Raises:
        BenchError: if importing it fails in any way.
    """
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # other people's code: anything may come out of importing it
        raise BenchError(
            f"the entry point '{point.name} = {point.value}' of group '{point.group}' cannot be loaded "
            f"({type(error).__name__}: {error}): mend or uninstall the package that declares it"
        ) from error


@cache
def installed(group: str, search: tuple[str, ...]) -> EntryPoints:
    """Return the entry points of the packages on a search path, which is `sys.path`."""
    return entry_points(group=group)
