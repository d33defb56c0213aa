"""Table 8: parameters and throughput of promptable models with one box prompt at 1,024 px (section 6).

The paper gives no batch size, precision or extent of its timing, and its numbers are of an A100. Here every part is
timed apart on the device at hand, and the table says what was timed and how. Speed does not depend on weights: a
full-size model whose checkpoint is not here is timed with random ones. Nothing is taken from earlier runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.processes import this_process
from bench.progress import progress
from models.errors import unknown_name
from models.specs import is_spec
from protocols.paper import paper_number, paper_table
from protocols.results import Cell, Column, Row, TableResult
from protocols.settings import Settings

if TYPE_CHECKING:  # torch takes seconds to import
    from models.speed import Speed

NAME = "table8"
TITLE = "Parameters and throughput with one box prompt (Table 8)"
TAKES = frozenset({"scale", "models", "checkpoint", "trust", "device", "engine"})
COLUMNS = (
    Column("params_m", "M params", "", percent=False),
    Column("images_per_s", "images/s", "", percent=False),
    Column("pre", "resize", "ms", percent=False),
    Column("encoder", "encoder", "ms", percent=False),
    Column("batch", "encoder, of 8", "ms", percent=False),
    Column("decoder", "decoder", "ms", percent=False),
    Column("masks", "upscaling", "ms", percent=False),
    Column("post", "RLE", "ms", percent=False),
    Column("gflop", "GFLOP", "", percent=False),
    Column("memory_mb", "peak MB", "", percent=False),
)
INTERVAL = "median, from the lower to the upper quartile of the calls"
EXTENT = (
    "one photo of 1,024 x 768 px with one box, from its pixels to the run lengths of the best mask; reading the file "
    "is not timed"
)
PHOTO = (768, 1024)
"""(height, width) of the photo that is asked about, px: noise, whose long side is the models' input."""
BOX = (200.0, 150.0, 800.0, 600.0)


class Ratio(NamedTuple):
    """A ratio that the paper's text states."""

    first: str
    second: str
    column: str
    said: str


RATIOS = (
    Ratio("EfficientSAM-Ti", "SAM", "images_per_s", "about 27 times as fast"),
    Ratio("SAM", "EfficientSAM-S", "params_m", "about 20 times as small"),
)


def make(table: ModuleType, settings: Settings) -> TableResult | None:
    """Time the models of the paper's rows, and those that were named; None on all but the first process.

    Raises:
        BenchError: for an unknown model, or if a device or a checkpoint cannot be used.
    """
    if not this_process().is_first:
        return None
    scale, chosen = _chosen(settings)
    measured, engine = _measure(chosen, settings)
    labels = [*map(str, paper_table(NAME).index), *(label for label in chosen if label not in paper_table(NAME).index)]
    return TableResult(
        name=NAME,
        title=TITLE,
        scale=scale,
        world=f"{'full-size models' if scale == 'paper' else 'micro models at 256 px'} on {where(settings, engine)}",
        comparable=False,
        preset="",
        columns=COLUMNS,
        rows=tuple(_row(label, chosen.get(label), settings) for label in labels),
        cells=tuple(cell for label in labels for cell in _cells(label, measured.get(label))),
        footnotes=tuple(_notes(measured)),
        command=settings.command,
        provenance={**settings.provenance, "engine": engine, "seconds": _seconds(measured)},
        interval=INTERVAL,
    )


def _chosen(settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return the scale, and the card of each row that is timed.

    Raises:
        BenchError: for an unknown name.
    """
    from models import zoo

    cards = {name: zoo.card(name) for name in zoo.names()}
    rows = [str(label) for label in paper_table(NAME).index]
    named = [*settings.models, *(name for name in settings.checkpoints if name not in settings.models)]
    for name in named:
        if name not in cards and is_spec(name):
            cards[name] = zoo.card(name)
        if name not in cards and name not in rows:
            raise unknown_name("model", name, [*cards, *rows])
    scale = settings.scale
    if scale == "auto":
        full = [card.name for card in cards.values() if card.scale == "paper" and card.paper_row in rows]
        asked = any(name in full for name in named) or settings.device != "cpu"
        scale = "paper" if asked or any(zoo.available(name)[0] for name in full) else "micro"
    of_row = {card.paper_row: card for card in reversed(cards.values()) if card.scale == scale}
    if not named:
        return scale, {row: of_row[row] for row in rows}
    found = {}
    for name in named:
        card = of_row[name] if name in rows else cards[name]
        found[card.paper_row if of_row.get(card.paper_row) is card and card.paper_row in rows else card.name] = card
    return scale, found


def _measure(chosen: Mapping[str, Any], settings: Settings) -> tuple[dict[str, Speed], dict[str, Any]]:
    """Time each model, alone, on the engine that was asked for."""
    from models import zoo
    from models.engines.float32 import threads
    from models.engines.ladder import products, put_on
    from models.speed import measure

    photo = np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), dtype=np.uint8)
    found, facts = {}, {}
    with progress("timing", total=len(chosen), unit="models") as advance:
        for label, card in chosen.items():
            checkpoint = settings.checkpoints.get(card.name)
            known = checkpoint is not None or zoo.available(card.name)[0]
            with products(settings.engine) as facts, threads(card.threads):
                model = (
                    zoo.load(card.name, checkpoint=checkpoint, device=settings.device, trusted=settings.trusted)
                    if known
                    else zoo.untrained(card.name, device=settings.device)
                )
                put_on(model, settings.engine)
                found[label] = measure(model, photo, BOX)
            del model
            advance(1)
    return found, facts


def time_models(
    models: Mapping[str, str], settings: Settings
) -> tuple[dict[str, tuple[float, float, float, int]], dict[str, Any], dict[str, Any]]:
    """Time models for another table.

    Args:
        models: names by row.
        settings: device, checkpoints.

    Returns:
        Images a second (median, lower and upper quartile, calls) by row; every timed call; the engine.

    Raises:
        BenchError: if a device or a checkpoint cannot be used.
    """
    from models import zoo

    measured, engine = _measure({row: zoo.card(name) for row, name in models.items()}, settings)
    speeds = {row: _values(speed)["images_per_s"] for row, speed in measured.items()}
    return speeds, _seconds(measured), engine  # type: ignore[return-value]


def where(settings: Settings, engine: Mapping[str, Any]) -> str:
    """Say on what, and how precisely, models were timed."""
    hardware = settings.provenance.get("hardware") or {}
    gpus = ", ".join(map(str, hardware.get("gpus", ())))
    place = hardware.get("cpu", "a CPU") if settings.device == "cpu" else gpus or settings.device
    products = engine.get("float32_matmul_precision", "unknown")
    from models.engines.fast import gains

    half = settings.engine == "fast" and gains(settings.device)
    precision = "bfloat16 and float32" if half else "float32"
    return f"{place} ({settings.device}); {precision} (matrix products: {products}), {settings.engine} engine; batch 1"


def _row(label: str, card: Any, settings: Settings) -> Row:
    kind: Any = "paper" if label in paper_table(NAME).index else "extra"
    if card is None:
        return Row(label, None, kind)
    from models import zoo

    untrained = card.name not in settings.checkpoints and not zoo.available(card.name)[0]
    threads = f"{card.threads} thread{'s' if card.threads > 1 else ''}" if card.threads else ""
    return Row(label, card.name, kind, "; ".join(p for p in ("random weights" if untrained else "", threads) if p))


def _cells(label: str, speed: Speed | None) -> Iterator[Cell]:
    values = {} if speed is None else _values(speed)
    for column in COLUMNS:
        paper = paper_number(NAME, label, column.key)
        if speed is None:
            yield Cell(label, column.key, "not requested", paper)
        elif column.key in values:
            value, low, high, calls = values[column.key]
            yield Cell(label, column.key, "measured", paper, value, low, high, calls)
        else:
            yield Cell(label, column.key, "not supported", paper, why="this model does not tell this part apart")


def _values(speed: Speed) -> dict[str, tuple[float, float | None, float | None, int]]:
    """Return (value, low, high, calls) by column."""
    found: dict[str, tuple[float, float | None, float | None, int]] = {}
    for part, seconds in speed.seconds.items():
        low, middle, high = np.percentile(seconds, [25, 50, 75]).tolist()
        if part == "whole":
            found["images_per_s"] = (1 / middle, 1 / high, 1 / low, len(seconds))
        else:
            found[part] = (1e3 * middle, 1e3 * low, 1e3 * high, len(seconds))
    for column, value in (
        ("params_m", speed.parameters / 1e6),
        ("gflop", speed.flops / 1e9),
        ("memory_mb", speed.memory / 1e6),
    ):
        if value:
            found[column] = (value, None, None, 1)
    return found


def _notes(measured: Mapping[str, Speed]) -> Iterator[str]:
    yield "the paper's numbers are of an A100; it states neither batch size, precision nor what is timed"
    yield f"images/s: {EXTENT}"
    yield (
        "ms: milliseconds of each part of one image with one box; encoder, of 8: an image where eight are encoded "
        "together; RLE: the mask's run lengths"
    )
    yield "peak: on a GPU memory allocated, on a CPU the whole process with torch"
    for first, second, column, said in RATIOS:
        paper = [paper_number(NAME, label, column) for label in (first, second)]
        ours = [_values(measured[label]).get(column) if label in measured else None for label in (first, second)]
        if paper[0] and paper[1] and ours[0] and ours[1]:
            yield (
                f"{first} / {second}, {column.replace('_', ' ')}: the paper's text says {said}, its table gives "
                f"{paper[0] / paper[1]:.1f}; here {ours[0][0] / ours[1][0]:.1f}"
            )


def _seconds(measured: Mapping[str, Speed]) -> dict[str, Any]:
    """Return every timed call."""
    return {
        label: {part: [round(second, 6) for second in seconds.tolist()] for part, seconds in speed.seconds.items()}
        for label, speed in measured.items()
    }


def state() -> str:
    """Say what it can be made of here."""
    return "timed here, on any device; needs no weights"
