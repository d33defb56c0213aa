"""Conditions under which tables should give the same numbers, and how far off they were when it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from models.engines.names import Engine
from protocols.regression.gate import compare
from protocols.regression.snapshots import Snapshot
from protocols.regression.tolerances import COLUMNS, Tolerances


class Condition(NamedTuple):
    """How a process is started."""

    what: str
    """In words."""
    environment: Mapping[str, str] = {}
    engine: Engine = "exact"


_OLD_NUMPY = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V3 X86_V4"
CONDITIONS: Mapping[str, Condition] = {
    "usual": Condition("one thread, exact engine, all that the CPU can do", {"OMP_NUM_THREADS": "1"}),
    "2 threads": Condition("two threads", {"OMP_NUM_THREADS": "2"}),
    "reference": Condition("the reference engine", {"OMP_NUM_THREADS": "1"}, "reference"),
    "torch avx2": Condition("torch without AVX-512", {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2"}),
    "torch default": Condition("torch without AVX2", {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"}),
    "oneDNN avx2": Condition("oneDNN without AVX-512", {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "oneDNN sse41": Condition("oneDNN without AVX", {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "numpy": Condition("numpy without AVX2", {"OMP_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": _OLD_NUMPY}),
    "old CPU": Condition(
        "two threads; torch, oneDNN and numpy without AVX",
        {
            "OMP_NUM_THREADS": "2",
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "NPY_DISABLE_CPU_FEATURES": _OLD_NUMPY,
        },
    ),
}
"""By name; all are compared with the first."""


def differences(condition: str, usual: Snapshot, other: Snapshot) -> pd.DataFrame:
    """Return the largest differences that a condition makes, by table, column and level; see `tolerances.COLUMNS`."""
    found = compare(usual, other, Tolerances(pd.DataFrame(columns=COLUMNS)))
    rows = [(condition, f.table, f.column, f.level, abs(f.difference), f.row) for f in found]
    every = pd.DataFrame(rows, columns=COLUMNS).sort_values("difference", kind="stable")
    return every.drop_duplicates(["table", "column", "level"], keep="last")
