"""The commands people type. All sessions share one environment, .nox/bench; `nox --no-venv` uses the active one."""

import hashlib
import importlib.util
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests"]

ROOT = Path(__file__).parent
TABLES = {
    "table4": "mIoU from a box, one click and three clicks",
    "table5": "mask AP from a detector's boxes",
}


def _levers() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("env", ROOT / "bench" / "env.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.ENV)


def shared(**options):
    """Make a session that lives in the shared environment."""
    return nox.session(venv_location=".nox/bench", reuse_venv=True, **options)


def install(session: nox.Session) -> None:
    """Install the project once; again only after its requirements changed."""
    session.env.update(_levers())
    if session.venv_backend == "none":
        return
    stamp = ROOT / ".nox" / "bench" / "installed"
    files = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        session.install("-e", ".[dev]", "-c", "constraints.txt")
        stamp.write_text(wanted)


def _reproduce(table: str, what: str) -> None:
    def reproduce(session: nox.Session) -> None:
        install(session)
        session.run("python", "-m", "bench", "run", table, *session.posargs)

    reproduce.__doc__ = f"Reproduce {table}, {what}. Options of `bench run` after --, e.g. -- --scale micro."
    shared(name=f"reproduce_{table}")(reproduce)


for _table, _what in TABLES.items():
    _reproduce(_table, _what)


@shared()
def train_micro(session: nox.Session) -> None:
    """Train the micro models again, two at a time on two cores (about 90 minutes); goes on after a kill."""
    install(session)
    session.run("python", "-m", "bench", "train-micro", *session.posargs)


@shared()
def tests(session: nox.Session) -> None:
    """Run the tests with coverage; pytest's options after --."""
    install(session)
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
    session.run("python", "-m", "pytest", *options)


@shared()
def lint(session: nox.Session) -> None:
    """Check format and style with ruff."""
    install(session)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@shared()
def types(session: nox.Session) -> None:
    """Check types with mypy, strictly."""
    install(session)
    session.run("mypy")
