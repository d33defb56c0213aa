"""Draw one scene: leaves painted back to front, parts on the leaves, pixels and exact instance maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.data.dead_leaves.shapes import SHAPE_NAMES, SHAPES, TEXTURE_NAMES, TEXTURES
from bench.draws import Draws

SIZE = 256
"""Side of a scene, px."""
RADII = (30.0, 110.0)
"""Smallest and largest leaf radius, px."""
LEAVES = (6, 15)
"""Fewest leaves, and one more than the most."""
SMALLEST_PART = 10.0
"""Radius, px: a part never gets smaller, and a leaf too small for it has none."""
SMALLEST_VISIBLE = 250
"""Leaves and parts with fewer visible pixels are scenery, not objects."""
SHAPE_WEIGHTS = tuple(1 / (rank + 2) for rank in range(len(SHAPE_NAMES)))
TEXTURE_WEIGHTS = tuple(1 / (rank + 1) for rank in range(len(TEXTURE_NAMES)))
# Zipf-like, so that the pairs (shape, texture) have the long tail that LVIS is about.


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf, or a part of one, as it was painted."""

    shape: int
    """Index into SHAPE_NAMES."""
    texture: int
    """Index into TEXTURE_NAMES."""
    parent: int
    """0 for a leaf; for a part, the number of the leaf that carries it."""
    crowd: bool = False
    """One of a swarm of tiny leaves that is annotated as a whole."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Pixels and ground truth of one image."""

    image: np.ndarray
    """uint8 [SIZE, SIZE, 3] RGB."""
    leaf_map: np.ndarray
    """uint8 [SIZE, SIZE]: number of the topmost leaf, 0 background; parts count as their leaf."""
    part_map: np.ndarray
    """uint8 [SIZE, SIZE]: number of the visible part, 0 none."""
    leaves: tuple[Leaf, ...]
    """leaves[number - 1]; leaves and parts share one numbering."""

    def mask(self, number: int) -> np.ndarray:
        """Return the visible pixels of a leaf (with its parts) or of a part, bool [SIZE, SIZE]."""
        return (self.part_map if self.leaves[number - 1].parent else self.leaf_map) == number

    def objects(self) -> list[int]:
        """Return the numbers of leaves and parts that are large enough to be annotated; swarms left out."""
        areas = np.bincount(self.leaf_map.ravel(), minlength=256) + np.bincount(self.part_map.ravel(), minlength=256)
        return [
            number
            for number, leaf in enumerate(self.leaves, start=1)
            if areas[number] >= SMALLEST_VISIBLE and not leaf.crowd
        ]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a leaf lies."""

    x: float
    y: float
    radius: float
    aspect: float
    direction: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Paint:
    """What a leaf is painted with: two colours mixed by a texture."""

    texture: int
    """Index into TEXTURE_NAMES."""
    first: np.ndarray
    """RGB [3], 0..255."""
    second: np.ndarray
    period: float
    """Of the texture, in radii."""


class Canvas:
    """The arrays of a scene while it is painted."""

    def __init__(self) -> None:
        self.image = np.zeros((SIZE, SIZE, 3))
        self.leaf_map = np.zeros((SIZE, SIZE), dtype=np.uint8)
        self.part_map = np.zeros((SIZE, SIZE), dtype=np.uint8)
        self.leaves: list[Leaf] = []

    def add(
        self,
        draws: Draws,
        place: Placement,
        shape: int,
        *,
        parent: int = 0,
        crowd: bool = False,
        paint: Paint | None = None,
    ) -> int:
        """Paint one leaf or part over what is there, with paint drawn at random if none is given; return its number."""
        x0, x1 = _span(place.x, place.radius)
        y0, y1 = _span(place.y, place.radius)
        cos, sin = place.direction
        x = (np.arange(x0, x1) + 0.5 - place.x) / place.radius
        y = ((np.arange(y0, y1) + 0.5 - place.y) / place.radius)[:, None]
        u, v = x * cos + y * sin, (y * cos - x * sin) / place.aspect  # [h, w], the leaf's own frame
        paint = paint or _paint(draws, draws.weighted(TEXTURE_WEIGHTS), place.radius)
        window = (slice(y0, y1), slice(x0, x1))
        inside = SHAPES[SHAPE_NAMES[shape]](u, v)
        self.leaves.append(Leaf(shape, paint.texture, parent, crowd))
        number = len(self.leaves)
        if parent:
            inside &= self.leaf_map[window] == parent
            self.part_map[window][inside] = number
        else:
            self.leaf_map[window][inside] = number
            self.part_map[window][inside] = 0
        self.image[window][inside] = _colours(draws, u[inside], v[inside], paint)
        return number


def _span(centre: float, radius: float) -> tuple[int, int]:
    first, last = int(centre - radius - 1), int(centre + radius + 2)
    return min(max(first, 0), SIZE), min(max(last, 0), SIZE)  # empty where a part lies outside the scene


def _paint(draws: Draws, texture: int, radius: float) -> Paint:
    """Draw the colours and period of a texture; the colours may be almost the same."""
    first = draws.uniforms(3) * 255
    second = first + (draws.uniforms(3) - 0.5) * 140
    return Paint(texture, first, second, draws.uniform(5.0, 14.0) / radius)


def _colours(draws: Draws, u: np.ndarray, v: np.ndarray, paint: Paint) -> np.ndarray:
    """Return RGB [n, 3] in 0..255 at leaf coordinates u, v [n]: the two colours mixed, then shaded."""
    mixture = TEXTURES[TEXTURE_NAMES[paint.texture]](u / paint.period, v / paint.period)[:, None]
    light_u, light_v = draws.direction()
    shade = 1 + draws.uniform(0.0, 0.3) * (u * light_u + v * light_v)
    return (paint.first + (paint.second - paint.first) * mixture) * shade[:, None]


def _background(draws: Draws, canvas: Canvas) -> None:
    """Fill the canvas with a large-scale texture that is nobody's mask."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / (SIZE / 2) - 1
    cos, sin = draws.direction()
    paint = _paint(draws, draws.integer(0, 6), 60.0)
    colours = _colours(draws, (x * cos + y * sin).ravel(), (y * cos - x * sin).ravel(), paint)
    canvas.image[:] = colours.reshape(SIZE, SIZE, 3)


def _place(draws: Draws, radius: float) -> Placement:
    x, y = (draws.uniforms(2) * SIZE).tolist()
    return Placement(x, y, radius, draws.uniform(0.5, 1.0), draws.direction())


def _add_parts(draws: Draws, canvas: Canvas, leaf: int, place: Placement) -> None:
    """Put one or two discs on most of the leaves that are large enough."""
    if place.radius * 0.4 < SMALLEST_PART or not draws.chance(0.7):
        return
    for _ in range(draws.integer(1, 3)):
        radius = max(SMALLEST_PART, place.radius * draws.uniform(0.33, 0.48))
        (dx, dy), offset = draws.direction(), draws.uniform(0.0, 0.5) * place.radius * place.aspect
        centre = Placement(place.x + dx * offset, place.y + dy * offset, radius, 1.0, draws.direction())
        canvas.add(draws, centre, SHAPE_NAMES.index("disc"), parent=leaf)


def _add_swarm(draws: Draws, canvas: Canvas) -> None:
    """Scatter tiny leaves of one shape around a spot: what COCO annotates as a crowd."""
    centre, shape = _place(draws, 40.0), draws.weighted(SHAPE_WEIGHTS)
    for _ in range(14):
        (dx, dy), distance = draws.direction(), draws.uniform(0.0, 40.0)
        radius = draws.uniform(5.0, 9.0)
        place = Placement(centre.x + dx * distance, centre.y + dy * distance, radius, 1.0, draws.direction())
        canvas.add(draws, place, shape, crowd=True)


def finish(draws: Draws, image: np.ndarray) -> np.ndarray:
    """Return what a camera sees: a 3 x 3 binomial blur and a little noise, uint8."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    blurred = (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 16
    noise = (draws.uniforms(image.size).reshape(image.shape) - 0.5) * 16
    return np.clip(np.floor(blurred + noise), 0, 255).astype(np.uint8)


def paint_leaves(draws: Draws) -> Canvas:
    """Return a new canvas with a background and leaves, some with parts, at times with a swarm among them."""
    canvas = Canvas()
    _background(draws, canvas)
    swarm_at = draws.integer(0, 2 * LEAVES[1]) if draws.chance(0.25) else -1
    for position in range(draws.integer(*LEAVES)):
        if position == swarm_at:
            _add_swarm(draws, canvas)
        place = _place(draws, draws.radius(*RADII))
        leaf = canvas.add(draws, place, draws.weighted(SHAPE_WEIGHTS))
        _add_parts(draws, canvas, leaf, place)
    return canvas


def paint_calm(draws: Draws, leaves: int, radii: tuple[float, float]) -> Canvas:
    """Return a new canvas with a background and a few leaves without parts."""
    canvas = Canvas()
    _background(draws, canvas)
    for _ in range(leaves):
        canvas.add(draws, _place(draws, draws.radius(*radii)), draws.weighted(SHAPE_WEIGHTS))
    return canvas


def draw_scene(seed: int, index: int) -> Scene:
    """Draw scene `index` of the world `seed`; the same bytes on every machine."""
    draws = Draws(seed, index)
    canvas = paint_leaves(draws)
    return Scene(finish(draws, canvas.image), canvas.leaf_map, canvas.part_map, tuple(canvas.leaves))
