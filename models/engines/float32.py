"""The `exact` engine's float32: the fast matrix products that keep float32 accuracy, and none that do not.

PyTorch sends float32 matrix products to MKL, which is half as fast as oneDNN on AMD CPUs. The precision
"medium" goes to oneDNN, which keeps float32 unless the CPU has bfloat16 matrix units (AMX); on a GPU it is
TF32.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_LARGEST_ERROR = 1e-5
"""Relative; float32 products of this size err by 3e-7, bfloat16 by 4e-3, TF32 by 5e-4."""


def exact_engine() -> dict[str, str | float | bool]:
    """Choose the fastest float32 matrix products of full accuracy; return the choice, for provenance."""
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    precision, error = "highest", 0.0
    if not torch.cuda.is_available() and _has_no_matrix_units():
        torch.set_float32_matmul_precision("medium")
        error = matmul_error()
        if error <= _LARGEST_ERROR:
            precision = "medium"
        else:
            torch.set_float32_matmul_precision("highest")
    return {"float32_matmul_precision": precision, "matmul_relative_error": error, "tf32": False}


@contextmanager
def engine(*, exact: bool) -> Iterator[dict[str, str | float | bool]]:
    """Compute on the exact engine inside the block, if asked; yields its choice, nothing where it was not."""
    precision, tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        yield exact_engine() if exact else {}
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = tf32


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with so many CPU threads inside the block; None changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


def matmul_error() -> float:
    """Return the largest error of a float32 linear layer relative to its largest output, against float64."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(256, 1024, generator=generator)
    weight = torch.randn(512, 1024, generator=generator)
    truth = torch.nn.functional.linear(rows.double(), weight.double())
    error = (torch.nn.functional.linear(rows, weight).double() - truth).abs().max()
    return float(error / truth.abs().max())


@functools.cache
def _has_no_matrix_units(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU says what it can do and has no AMX; False where it does not say."""
    if not cpuinfo.is_file():
        return False
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    return bool(flags) and "amx_tile" not in flags.split()
