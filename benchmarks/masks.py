"""From low-resolution logits to run lengths: ours against the published code. Run `python benchmarks/masks.py`."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from pycocotools import mask as rle
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from turns import WORKER, differing, keep, own_process

from bench.progress import progress
from bench.provenance import provenance
from models.annotations import encode_all
from models.engines.float32 import engine
from models.frames import resized
from models.zoo import untrained

LOW = 256
"""Side of the logits of a full-size model."""
MOST_DIFFERING = 1e-4
"""Share of pixels."""


def main(
    height: int = 480, width: int = 640, prompts: int = 32, repeats: int = 5, rounds: int = 3, out: Path | None = None
) -> None:
    """Time upscaling, threshold and run lengths of three candidates for each of some prompts, of which one counts.

    The published code upscales all three candidates of a prompt and chooses then; ours chooses first. Both choose by
    predicted IoU, the same ones. Ways take turns in processes of their own, the published code with the allocator that
    it is published with, and their masks must agree but for one pixel in 10,000 before a ratio is printed.

    Args:
        height: Of the photo, px.
        width: Of the photo, px.
        prompts: On one photo.
        repeats: Timed runs in a process; their median counts.
        rounds: Turns of each way; their median counts.
        out: A JSON file for the figures and the machine.
    """
    table = Table(title=f"{prompts} prompts, {height} x {width} px, {torch.get_num_threads()} threads")
    for heading in ("model", "way", "median ms a mask", "times as fast"):
        table.add_column(heading, justify="left" if heading in ("model", "way") else "right")
    figures = []
    with progress("timing", total=rounds * len(MODELS) * len(WAYS), unit="runs") as advance:
        for model in MODELS:
            seconds = _in_turn((model, height, width, prompts, repeats), rounds, advance)
            first = seconds["as published"]
            for way, middle in seconds.items():
                table.add_row(model, way, f"{1e3 * middle / prompts:.2f}", f"{first / middle:.1f}")
                figures.append({"model": model, "way": way, "ms": 1e3 * middle / prompts, "ratio": first / middle})
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps({"figures": figures, "made_with": provenance()}, indent=1) + "\n")


def _in_turn(given: tuple[object, ...], rounds: int, advance: Callable[[int], object]) -> dict[str, float]:
    """Return the median seconds of each way.

    Raises:
        SystemExit: if masks differ.
    """
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as place:
        answers = {way: Path(place) / f"{number}.npz" for number, way in enumerate(WAYS)}
        for _ in range(rounds):
            for way in WAYS:
                published = way == "as published"
                seconds[way].append(float(own_process(__file__, *given, way, answers[way], published=published)))
                advance(1)
        if (share := differing(*answers.values())) > MOST_DIFFERING:
            raise SystemExit(f"masks differ in {share:.2e} of the pixels: no ratio is printed")
    return {way: statistics.median(times) for way, times in seconds.items()}


def worker(model: str, height: int, width: int, prompts: int, repeats: int, way: str, answers: str) -> None:
    """Do one way's work some times, print the median seconds, keep the masks."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(prompts * 3, 1, 16, 16, generator=generator)
    logits = F.interpolate(coarse, (LOW, LOW), mode="bicubic").view(prompts, 3, LOW, LOW)
    logits = logits + 0.05 * torch.randn(logits.shape, generator=generator)
    best = torch.randint(3, (prompts,), generator=generator)
    size, seconds = (height, width), []
    work: Callable[[], list[Any]]
    if way == "as published":
        work = partial(MODELS[model].published, logits, best, size)
    else:
        work = partial(_ours, untrained(MODELS[model].name), logits, best, size)
    with engine(exact=way != "as published"):
        found = work()
        for _ in range(repeats):
            started = time.perf_counter()
            found = work()
            seconds.append(time.perf_counter() - started)
    print(statistics.median(seconds))
    keep(Path(answers), np.stack([rle.decode(one) for one in found]).astype(bool))


def _published_sam(logits: Tensor, best: Tensor, size: tuple[int, int]) -> list[Any]:
    """Sam.postprocess_masks on all candidates, then the best ones to run lengths one by one."""
    height, width = resized(size, 1024)
    inner = F.interpolate(logits, (1024, 1024), mode="bilinear", align_corners=False)[..., :height, :width]
    masks = F.interpolate(inner, size, mode="bilinear", align_corners=False) > 0.0
    return _encoded(masks, best)


def _published_efficientsam(logits: Tensor, best: Tensor, size: tuple[int, int]) -> list[Any]:
    masks = F.interpolate(logits, size, mode="bicubic", align_corners=False) >= 0
    return _encoded(masks, best)


def _encoded(masks: Tensor, best: Tensor) -> list[Any]:
    chosen = masks[torch.arange(len(best)), best].numpy()
    return [rle.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in chosen]


def _ours(segmenter: Any, logits: Tensor, best: Tensor, size: tuple[int, int]) -> list[Any]:
    picked = logits[torch.arange(len(best)), best][:, None]
    masks = segmenter.masks(picked, size)[:, 0].numpy()
    return list(encode_all(masks))


class Model(NamedTuple):
    """What decides how logits become masks; weights do not matter here."""

    name: str
    """Of `bench list`: a full-size network of that input."""
    published: Callable[[Tensor, Tensor, tuple[int, int]], list[Any]]


MODELS = {
    "SAM": Model("mobilesam", _published_sam),
    "EfficientSAM": Model("efficientsam-ti", _published_efficientsam),
}
WAYS = ("as published", "this project")


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        kind, *numbers, which, file = sys.argv[2:]
        worker(kind, *map(int, numbers), which, file)  # type: ignore[misc]
    else:
        tyro.cli(main)
