"""Fixtures that all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols import fingerprint

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference material beside the checkout: here and in CI, never on a user's machine."""
    path = Path(__file__).resolve().parents[1].parent / "shared"
    if not path.is_dir():
        pytest.skip("the reference folder beside the checkout is not on this machine")
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache; all workers share one."""
    if "BENCH_CACHE" not in os.environ:
        own = tmp_path_factory.getbasetemp()
        root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
        monkeypatch.setenv("BENCH_CACHE", str(root / "cache"))


@pytest.fixture(scope="session", autouse=True)
def _plug_ins() -> Iterator[None]:
    """Fakes are plug-ins of the package `tests`, but their runs are not identified by all its hundreds of files."""
    files = fingerprint._package
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "_package", lambda top: {} if top == "tests" else files(top))
        yield


@pytest.fixture
def bfloat16_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the fast engine take this CPU for one that multiplies bfloat16, so that it does something everywhere."""
    import torch

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
