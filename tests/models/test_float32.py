"""The exact engine: fast matrix products only where they keep float32 accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.engines import float32 as engine


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_products_keep_float32_accuracy_whatever_was_chosen() -> None:
    chosen = engine.exact_engine()
    assert engine.matmul_error() < 1e-5
    assert torch.get_float32_matmul_precision() == chosen["float32_matmul_precision"]


def test_a_gpu_never_computes_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    torch.set_float32_matmul_precision("medium")
    assert engine.exact_engine()["float32_matmul_precision"] == "highest"
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_products_that_lose_accuracy_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_has_no_matrix_units", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(engine, "matmul_error", lambda: 4e-3)
    assert engine.exact_engine()["float32_matmul_precision"] == "highest"
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("cpuinfo", "safe"),
    [
        ("processor : 0\nflags : fpu avx512f avx512_bf16\n", True),
        ("processor : 0\nflags : fpu avx512f amx_bf16 amx_tile amx_int8\n", False),
        ("Features : fp asimd bf16\n", False),
        (None, False),
    ],
)
def test_only_a_cpu_known_to_have_no_matrix_units_gets_the_fast_products(
    tmp_path: Path, cpuinfo: str | None, safe: bool
) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    assert engine._has_no_matrix_units(path) is safe
