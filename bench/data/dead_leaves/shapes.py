"""Outlines and textures of leaves, as functions of the leaf's own coordinates (u, v) in -1..1.

Only comparisons, sums, products, quotients and floor are used: each is rounded the same way on every CPU.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _polygon(*vertices: tuple[float, float]) -> Field:
    """Return the even-odd inside test of a closed polygon."""

    def inside(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        odd = np.zeros(u.shape, dtype=bool)
        for (u0, v0), (u1, v1) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
            if v0 != v1:
                crosses = (v < v0) != (v < v1)
                odd ^= crosses & (u < u0 + (v - v0) * ((u1 - u0) / (v1 - v0)))
        return odd

    return inside


def _disc(u: np.ndarray, v: np.ndarray, u0: float = 0.0, radius: float = 1.0) -> np.ndarray:
    return (u - u0) * (u - u0) + v * v <= radius * radius


SHAPES: dict[str, Field] = {
    "disc": _disc,
    "square": lambda u, v: np.maximum(np.abs(u), np.abs(v)) <= 0.88,
    "triangle": _polygon((0.0, -1.0), (0.9, 0.7), (-0.9, 0.7)),
    "star": _polygon(
        (0.0, -1.0), (0.27, -0.37), (0.95, -0.31), (0.43, 0.14), (0.59, 0.81),
        (0.0, 0.45), (-0.59, 0.81), (-0.43, 0.14), (-0.95, -0.31), (-0.27, -0.37),
    ),
    "crescent": lambda u, v: _disc(u, v) & ~_disc(u, v, 0.55, 0.8),
    "cross": lambda u, v: (
        (np.minimum(np.abs(u), np.abs(v)) <= 0.36) & (np.maximum(np.abs(u), np.abs(v)) <= 0.95)
    ),
    "lens": lambda u, v: _disc(u, v, 0.6, 1.17) & _disc(u, v, -0.6, 1.17),
    "hexagon": _polygon((-1.0, 0.0), (-0.5, -0.87), (0.5, -0.87), (1.0, 0.0), (0.5, 0.87), (-0.5, 0.87)),
}  # fmt: skip


def _fraction(x: np.ndarray) -> np.ndarray:
    return x - np.floor(x)


def _dots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = _fraction(u) - 0.5, _fraction(v) - 0.5
    return x * x + y * y < 0.1


def _mosaic(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return an irregular patchwork: an integer hash of the cell, 0..1."""
    cell = np.floor(u).astype(np.int64) * 7919 + np.floor(v).astype(np.int64) * 104729
    return ((cell * cell // 64) & 255) / 255.0


# Each texture maps coordinates in units of its period to a mixture 0..1 of the leaf's two colours.
TEXTURES: dict[str, Field] = {
    "plain": lambda u, v: np.zeros(u.shape),
    "stripes": lambda u, v: _fraction(u) < 0.5,
    "checks": lambda u, v: (np.floor(u) + np.floor(v)) % 2,
    "dots": _dots,
    "ramp": lambda u, v: np.abs(_fraction(u / 4) - 0.5) * 2,
    "mosaic": _mosaic,
}

SHAPE_NAMES = tuple(SHAPES)
TEXTURE_NAMES = tuple(TEXTURES)
