"""Random draws that are the same to the bit on every CPU and numpy release.

Only the raw 64-bit stream of PCG64 is used, which numpy guarantees; `Generator` methods may change between
releases, and its normal deviates go through libm, which differs between CPUs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Draws:
    """A stream of draws that belongs to one purpose, named by integers."""

    def __init__(self, *name: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(name))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw from [low, high)."""
        return low + (high - low) * float(self.uniforms(1)[0])

    def uniforms(self, n: int) -> np.ndarray:
        """Draw n numbers from [0, 1), float64 [n]."""
        return (self._bits.random_raw(n) >> np.uint64(11)) * 2.0**-53

    def integer(self, low: int, high: int) -> int:
        """Draw from low, ..., high - 1."""
        return low + int(self.uniform() * (high - low))

    def chance(self, probability: float) -> bool:
        """Be true with this probability."""
        return self.uniform() < probability

    def weighted(self, weights: Sequence[float]) -> int:
        """Draw an index with probability proportional to its weight."""
        target, total = self.uniform() * sum(weights), 0.0
        for index, weight in enumerate(weights):
            total += weight
            if target < total:
                return index
        return len(weights) - 1

    def direction(self) -> tuple[float, float]:
        """Draw a unit vector, evenly over the circle, by rejection: no sine or cosine, whose last bit varies."""
        while True:
            x, y = (2 * self.uniforms(2) - 1).tolist()
            square = x * x + y * y
            if 0.01 < square <= 1:
                length = float(np.sqrt(square))
                return x / length, y / length

    def radius(self, smallest: float, largest: float) -> float:
        """Draw from a density proportional to r^-3, the scale-invariant law of dead leaves."""
        ratio = smallest / largest
        return smallest / float(np.sqrt(1 - self.uniform() * (1 - ratio * ratio)))
