"""The rungs of the engine ladder by name; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Engine = Literal["reference", "exact", "fast"]
ENGINES: Mapping[Engine, str] = {
    "reference": "the published operations one by one, in float32",
    "exact": "the same sums in another order: fused attention, image side shared by prompts, fast float32 products",
    "fast": "the exact engine's operations in bfloat16 where that is faster",
}
"""Every rung and what it does, from the published operations upwards."""
STAND_INS: Mapping[Engine, str] = {"reference": "models.engines.reference", "fast": "models.engines.fast"}
"""The module whose `STAND_INS` take the places of the exact engine's classes."""
