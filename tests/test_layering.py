"""Imports flow one way, scoring needs no torch, and no file knows the machine it was written on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("bench", "models", "protocols", "reports")
FRONT_DOOR = ("bench.__main__", "bench.cli", "bench.training")
"""What a user calls, and what trains: it measures what it made as the tables do."""
MAY_IMPORT = {
    "models": ("models",),
    "bench": (
        "bench",
        "models.errors",
        "models.files.folders",
        "models.files.hashes",
        "models.files.transfer",
        "models.segmenter",
    ),
    "protocols": ("protocols", "bench", "models"),
    "reports": ("reports", "protocols.results", "models.errors"),
}
SCORING = (
    "bench.metrics",
    "bench.store",
    "bench.provenance",
    "bench.data",
    "reports",
    "protocols.results",
    "protocols.paper.verdicts",
    "protocols.published.calibration",
    "protocols.inspect.compare",
    "protocols.inspect.explain",
    "protocols.paper",
    "protocols.scores",
    "protocols.table2",
    "protocols.table3",
    "protocols.table4",
    "protocols.table5",
    "protocols.table1",
    "protocols.table6",
    "protocols.table7",
    "protocols.ablations",
    "protocols.salient",
    "protocols.everything",
    "protocols.figure7",
    "protocols.tables",
    "protocols.plan",
    "protocols.training_records",
)
"""Packages with all their modules: what turns stored answers into tables needs no torch, and no second to start."""
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
        importlib.import_module(found.name)
print("\\n".join(sys.modules))
"""


def name_of(path: Path) -> str:
    """Return the dotted name of a module's file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports(path: Path) -> Iterator[str]:
    """Return the dotted names that a file imports anywhere, one for each name taken from a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def tracked() -> list[str]:
    """Return the files of the repository, also those that are not committed yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("package", OURS)
def test_a_package_imports_those_below_it_alone(package: str) -> None:
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in modules(package)
        if not is_within(name_of(path), FRONT_DOOR)
        for name in imports(path)
        if is_within(name, OURS) and not is_within(name, MAY_IMPORT[package])
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["reports", "bench/metrics", "bench/data"])
def test_what_reads_and_writes_tables_never_names_torch(package: str) -> None:
    assert [path for path in modules(package) if "torch" in {n.partition(".")[0] for n in imports(path)}] == []


def test_the_checker_sees_imports_of_every_form(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("import a.b as c\nfrom d import e, f\ndef g():\n    from h.i import j\n")
    assert list(imports(source)) == ["a.b", "d.e", "d.f", "h.i.j"]
    assert is_within("models.errors.BenchError", ("models.errors",))
    assert not is_within("models.errors_of_others", ("models.errors",))


def test_scoring_and_reporting_import_no_torch() -> None:
    command = [sys.executable, "-c", IMPORT_ALL, *SCORING]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines())
    assert {"bench.metrics.ap", "bench.data.dead_leaves.crowded", "reports.html"} <= loaded
    assert loaded.isdisjoint({"torch", "timm", "accelerate", "models.zoo"})


def test_no_file_names_a_place_on_the_machine_it_was_written_on() -> None:
    """Absolute paths of people's machines; `ann` is the user in our examples."""
    place = re.compile(rf"(?<![\w.~/}}-])/(?:{'|'.join(('work', 'root', 'home(?!/ann/)'))})/")
    assert place.search(" /" + "work/data")
    assert not place.search("see https://example.org/home/")
    found = []
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" in content[:8000]:
            continue  # an image, an array
        lines = content.decode("utf-8", errors="replace").splitlines()
        found += [f"{name}:{number}: {line}" for number, line in enumerate(lines, start=1) if place.search(line)]
    assert found == []
