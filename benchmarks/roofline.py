"""How far models are from what the processor can do, and what takes the rest. Run `python benchmarks/roofline.py`."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.env import start_again_with_them
from bench.progress import progress
from bench.provenance import provenance
from models import zoo
from models.annotations import encode_all
from models.engines.ladder import products
from models.segmenter import Prompts
from protocols.axes import Axes
from protocols.predictors import ModelPredictor

SIDE = 2048
"""Of the square matrices whose product shows what the processor can do."""
KINDS = {
    "products": ("mm", "linear", "conv", "matmul"),
    "attention": ("scaled_dot_product", "softmax"),
    "norms and activations": ("norm", "gelu", "relu", "sigmoid", "var", "mean", "sqrt", "pow"),
    "sums and products by element": ("add", "mul", "sub", "div", "gt", "ge"),
    "copies": ("copy", "cat", "clone", "fill", "index", "pad", "stack", "to"),
}
"""Operators by a part of their name, the first that fits."""


def main(
    models: tuple[str, ...] = ("efficientsam-ti", "sam-vit-b"),
    boxes: int = 32,
    rounds: int = 3,
    out: Path | None = None,
) -> None:
    """Compare the exact engine with the time that its float32 products alone would take at the processor's best.

    The best is measured: the product of two square matrices. Weights are the published ones where they are here, else
    random. Which operators take the time is measured on one thread.

    Args:
        models: Names of `bench list`.
        boxes: On one photo of 480 x 640 px, to run lengths.
        rounds: Turns; medians count.
        out: A JSON file for the figures and the machine.
    """
    parts, operators = [], []
    photo = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with (
        progress("measuring", total=2 * len(models), unit="parts") as advance,
        products("exact"),
        torch.inference_mode(),
    ):
        best = _best(rounds)
        for model in models:
            torch.manual_seed(0)
            segmenter: Any = zoo.load(model) if zoo.available(model)[0] else zoo.untrained(model)
            predictor = ModelPredictor(segmenter, Axes())
            predictor.set_image(photo)
            works: dict[str, tuple[Callable[[], object], int]] = {
                "encoder": (lambda one=segmenter: one.embed([photo]), 1),  # type: ignore[misc]
                "a box": (lambda one=predictor: encode_all(one.predict(_boxes(boxes), None).masks), boxes),  # type: ignore[misc]
            }
            for part, (work, count) in works.items():
                seconds, operations = _median(work, rounds) / count, _operations(work) / count
                floor = operations / best
                parts.append(
                    {
                        "model": model,
                        "part": part,
                        "ms": 1e3 * seconds,
                        "gflop": operations / 1e9,
                        "ms_at_best": 1e3 * floor,
                        "share_of_best": floor / seconds,
                    }
                )
                operators.append({"model": model, "part": part, **_by_kind(work)})
                advance(1)
    _show(parts, operators, best)
    if out is not None:
        figures = {"parts": parts, "share of the time by operators, one thread": operators}
        content = {"best_gflops": best / 1e9, "figures": figures, "made_with": provenance()}
        out.write_text(json.dumps(content, indent=1) + "\n")


def _boxes(count: int) -> Prompts:
    corners = np.random.default_rng(1).uniform(0, 1, (count, 2, 2)) * (640, 480)
    return Prompts.from_boxes(np.sort(corners, axis=1).reshape(-1, 4))


def _best(rounds: int) -> float:
    """Return the operations a second of a large product."""
    one, other = torch.randn(2, SIDE, SIDE).unbind()
    return 2 * SIDE**3 / _median(lambda: one @ other, 3 * rounds)


def _median(work: Callable[[], object], rounds: int) -> float:
    work()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _operations(work: Callable[[], object]) -> float:
    """Return the floating-point operations of products; attention is counted as its products.

    On one thread, since torch sees the operators of one alone.
    """
    with sdpa_kernel(SDPBackend.MATH):
        return float(_on_one_thread(work, FlopCounterMode(display=False)).get_total_flops())


def _by_kind(work: Callable[[], object]) -> dict[str, float]:
    """Return the share of the operators' time that each kind takes."""
    seconds: dict[str, float] = defaultdict(float)
    for event in _on_one_thread(work, profile(activities=[ProfilerActivity.CPU])).key_averages():
        name = event.key.removeprefix("aten::")
        kind = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "others")
        seconds[kind] += event.self_cpu_time_total
    total = sum(seconds.values())
    return {kind: seconds[kind] / total for kind in (*KINDS, "others")}


def _on_one_thread(work: Callable[[], object], watched: Any) -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with watched:
            work()
    finally:
        torch.set_num_threads(before)
    return watched


def _show(parts: list[dict[str, Any]], operators: list[dict[str, Any]], best: float) -> None:
    console = Console()
    title = f"{torch.get_num_threads()} threads, {best / 1e9:.0f} GFLOP/s at best"
    for heading, rows in ((title, parts), ("share of the time, one thread", operators)):
        table = Table(title=heading, box=None)
        for name in rows[0]:
            table.add_column(name.replace("_", " "))
        for row in rows:
            table.add_row(*(value if isinstance(value, str) else f"{value:.3g}" for value in row.values()))
        console.print(table)


if __name__ == "__main__":
    start_again_with_them()  # without them an encoder waits for memory for as long as it computes
    tyro.cli(main)
