"""The engine ladder: three ways to compute what a network of this project computes.

Each rung is a table of classes that stand in for others: putting a segmenter on a rung exchanges the classes of its
modules, so that weights stay where they are and the code of the exact engine knows nothing of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from models.cards import resolve
from models.engines.float32 import engine as float32
from models.engines.names import STAND_INS, Engine


def put_on(segmenter: Any, engine: Engine) -> str:
    """Make a freshly loaded segmenter compute on a rung of the ladder; it cannot be taken off again.

    Returns:
        Why the rung changes nothing of it, and nothing where it does.
    """
    if engine not in STAND_INS:
        return "its classes are those of the exact engine"
    if engine == "fast" and not resolve(f"{STAND_INS[engine]}:gains")(getattr(segmenter, "device", "cpu")):
        return "this CPU has no bfloat16 products, in which it would be slower"
    stand_ins: Mapping[type, type] = resolve(f"{STAND_INS[engine]}:STAND_INS")
    network = getattr(segmenter, "network", None)
    parts = [segmenter, *(network.modules() if isinstance(network, nn.Module) else ())]
    changed = [part for part in parts if type(part) in stand_ins]
    for part in changed:
        part.__class__ = stand_ins[type(part)]
    return "" if changed else "it knows one way to compute alone"


@contextmanager
def products(engine: Engine) -> Iterator[dict[str, Any]]:
    """Multiply float32 matrices as an engine does inside the block; yields the choice, for provenance."""
    with float32(exact=True) as facts:
        if engine == "reference":
            torch.set_float32_matmul_precision("highest")
            facts |= {"float32_matmul_precision": "highest", "matmul_relative_error": 0.0}
        yield {"engine": engine, **facts}
