"""What of the code can change a model's records: the modules that asking it reaches, and the libraries they import.

A run's identity holds a digest of these, so that after a change nothing stale is reused, and that a change elsewhere
throws nothing away: MobileSAM's modules are no part of SAM's runs, and trainings, plans and reports are part of none.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = ("bench", "models", "protocols")


def code_digest(roots: Iterable[str]) -> str:
    """Return a hash of the source behind some modules and of the versions of all libraries that it imports.

    Args:
        roots: names of modules. Those of other packages stand for the whole package, all its files and its version; so
            does what they import of packages that no installed distribution brings, such as modules of one's own.
    """
    sources, libraries = _reached(frozenset(roots))
    digest = hashlib.sha256()
    for name, path in sorted(sources.items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(repr(sorted(_versions(libraries).items())).encode())
    return digest.hexdigest()[:16]


def _reached(roots: frozenset[str]) -> tuple[dict[str, Path], set[str]]:
    """Return the sources of all modules that are reached, and the packages of others that they import."""
    sources: dict[str, Path] = {}
    libraries: set[str] = set()
    seen: set[str] = set()
    plugins = {root.partition(".")[0] for root in roots} - set(OURS)
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if top not in OURS:
            if top not in libraries and (top in plugins or _is_loose(top)):
                files = _package(top)
                sources |= files
                waiting += [name for path in files.values() for name in _imports(path)]
            libraries.add(top)
            continue
        for part in set(_with_packages(name)) - seen:
            seen.add(part)
            path = _file(part)
            if path is not None:
                sources[part] = path
                waiting += _imports(path)
    return sources, libraries


def _with_packages(name: str) -> Iterator[str]:
    """Yield a dotted name and the packages around it, which are imported with it.

    >>> list(_with_packages("models.sam.build"))
    ['models', 'models.sam', 'models.sam.build']
    """
    parts = name.split(".")
    yield from (".".join(parts[: end + 1]) for end in range(len(parts)))


def _file(name: str) -> Path | None:
    """Return the source of a module of ours, None for what is no module (a name that is imported from one)."""
    place = ROOT.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _is_loose(top: str) -> bool:
    """Say whether a package or module is no part of Python, and of no installed distribution."""
    return top not in sys.stdlib_module_names and top not in _distributions()


def _package(top: str) -> dict[str, Path]:
    """Return the Python files of another package or module by name."""
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # of __main__
        return {}
    if spec is None:
        return {}
    if spec.submodule_search_locations is None:
        return {top: Path(spec.origin)} if spec.origin else {}
    folders = [Path(folder) for folder in spec.submodule_search_locations]  # several, or without __init__.py
    return {f"{top}/{path.relative_to(folder)}": path for folder in folders for path in folder.rglob("*.py")}


@cache
def _imports(path: Path) -> tuple[str, ...]:
    """Return the dotted names that a file imports anywhere, one for each name that is taken from a module."""
    found: list[str] = []
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:  # of other people's package, where nothing imports it
        return ()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions of the distributions behind packages, by name of the distribution."""
    outside = set(libraries) - set(sys.stdlib_module_names)
    known = _distributions()
    return {name: version(name) for package in outside for name in known.get(package, ())}


@cache
def _distributions() -> dict[str, list[str]]:
    return {package: sorted(set(names)) for package, names in packages_distributions().items()}
