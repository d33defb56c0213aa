"""The commands people type. All sessions share one environment, .nox/bench (torch alone is gigabytes).

`nox --no-venv -s SESSION` uses the active environment instead, for people whose torch was chosen for their GPU.
"""

import ast
import hashlib
import importlib.util
import os
import sys
from pathlib import Path

import nox

nox.options.sessions = ["tests"]

ROOT = Path(__file__).parent
ENVIRONMENT = ROOT / ".nox" / "bench"


def _tables() -> dict[str, str]:
    """Return the title of every table and figure: a module of protocols/ with a CSV of its name in protocols/paper/."""
    found = {}
    for numbers in sorted((ROOT / "protocols" / "paper").glob("*.csv")):
        module = ROOT / "protocols" / f"{numbers.stem}.py"
        if module.is_file():
            found[numbers.stem] = next(
                node.value.value
                for node in ast.parse(module.read_text(encoding="utf-8")).body
                if isinstance(node, ast.Assign) and node.targets[0].id == "TITLE"
            )
    return found


def _levers() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("env", ROOT / "bench" / "env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.ENV)


def python(session: nox.Session) -> str:
    """Return the Python of the shared environment, installing the project there first if its requirements changed."""
    session.env.update(_levers())
    if "--no-venv" in sys.argv:
        return sys.executable
    interpreter = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    stamp = ENVIRONMENT / "installed"
    if not stamp.is_file() or stamp.read_text() != wanted:
        session.run(sys.executable, "-m", "venv", str(ENVIRONMENT))
        session.log("installing torch and the project; the first time takes minutes")
        session.run(str(interpreter), "-m", "pip", "install", "-q", "-e", ".[dev]", "-c", "constraints.txt")
        stamp.write_text(wanted)
    return str(interpreter)


def shared(**options):
    """Make a session that brings no environment of its own."""
    return nox.session(venv_backend="none", **options)


def _reproduce(table: str, title: str) -> None:
    def reproduce(session: nox.Session) -> None:
        session.run(python(session), "-m", "bench", "run", table, *session.posargs)

    after = "Options of `bench run` after --; -- --train runs the micro trainings first (hours)."
    reproduce.__doc__ = f"Reproduce {table}: {title}. {after}"
    shared(name=f"reproduce_{table}")(reproduce)


for _table, _title in _tables().items():
    _reproduce(_table, _title)


@shared()
def report(session: nox.Session) -> None:
    """Make the paper again: tables that are missing at micro scale (minutes), then HTML, PDF and LaTeX.

    Options of `bench report` after --; with --runs A B it is made of these alone.
    """
    made = [] if "--runs" in session.posargs else ["--make-missing"]
    session.run(python(session), "-m", "bench", "report", *made, *session.posargs)


@shared()
def train_micro(session: nox.Session) -> None:
    """Train the committed micro models again, two at a time on two cores (over two hours); goes on after a kill."""
    session.run(python(session), "-m", "bench", "train", "--all", "micro", *session.posargs)


@shared()
def train_ablations(session: nox.Session) -> None:
    """Train again what leaves records and no weights: ablations, Figure 7, larger detectors, other seeds (hours)."""
    session.run(python(session), "-m", "bench", "train", "--all", "ablations", *session.posargs)


@shared()
def tests(session: nox.Session) -> None:
    """Run the tests with coverage; pytest's options after --."""
    interpreter = python(session)
    session.env["OMP_NUM_THREADS"] = "1"
    options = session.posargs or [
        "-n",
        "2",
        "--dist",
        "worksteal",
        "--cov",
        "--cov-report=term",
        "--cov-fail-under=85",
    ]
    session.run(interpreter, "-m", "pytest", *options)


@shared()
def regression(session: nox.Session) -> None:
    """Make the micro tables and compare them with what is expected of them (minutes); options of `bench regression`."""
    session.run(python(session), "-m", "bench", "regression", *session.posargs)


@shared()
def faults(session: nox.Session) -> None:
    """Plant more than a thousand seeded faults in runs, caches, data, weights and trainings (minutes)."""
    interpreter = python(session)
    session.env["OMP_NUM_THREADS"] = "1"
    session.run(interpreter, "-m", "pytest", "-n", "2", "-m", "faults", "tests", *session.posargs)


@shared()
def benchmarks(session: nox.Session) -> None:
    """Time what this project claims to be faster at, as ratios against the reference in the same run (half an hour).

    Nothing else should run meanwhile. Writes benchmarks/results/NAME.json and the figures of docs/performance.md; names
    of benchmarks after --.
    """
    interpreter = python(session)
    folder = ROOT / "benchmarks"
    commands = (path for path in sorted(folder.glob("*.py")) if "tyro.cli" in path.read_text(encoding="utf-8"))
    names = session.posargs or [path.stem for path in commands]
    for name in names:
        session.run(interpreter, str(folder / f"{name}.py"), "--out", str(folder / "results" / f"{name}.json"))
    session.run(interpreter, str(folder / "report.py"))


@shared()
def lint(session: nox.Session) -> None:
    """Check format and style with ruff."""
    interpreter = python(session)
    session.run(interpreter, "-m", "ruff", "format", "--check", ".")
    session.run(interpreter, "-m", "ruff", "check", ".")


@shared()
def docs(session: nox.Session) -> None:
    """Build the site of docs/ into site/, strictly: a broken link or a page not in mkdocs.yml fails. No network."""
    session.env["NO_MKDOCS_2_WARNING"] = "1"  # Material's notice about another generator
    session.run(python(session), "-m", "mkdocs", "build", "--strict", *session.posargs)


@shared()
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    session.run(python(session), "-m", "mypy")
