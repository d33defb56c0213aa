"""From low-resolution logits to run lengths: ours against the published code. Run `python benchmarks/masks.py`."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from pycocotools import mask as rle
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from bench.progress import progress
from bench.provenance import provenance
from models.annotations import encode_all
from models.efficientsam.segmenter import EfficientSamSegmenter
from models.engines.float32 import engine
from models.frames import resized
from models.sam.segmenter import SamSegmenter
from models.zoo import untrained

LOW = 256
"""Side of the logits of a full-size model."""

Way = Callable[[], list[Any]]


def main(height: int = 480, width: int = 640, prompts: int = 32, repeats: int = 9, out: Path | None = None) -> None:
    """Time upscaling, threshold and run lengths of three candidates for each of some prompts, of which one counts.

    The published code upscales all three candidates of a prompt and chooses then; ours chooses first. Both choose by
    predicted IoU, the same ones. Masks must agree but for one pixel in 10,000 before anything is timed. Ways take
    turns, so that what else the machine does hits all alike; the median counts.

    Args:
        height: Of the photo, px.
        width: Of the photo, px.
        prompts: On one photo.
        repeats: Timed runs of each way.
        out: A JSON file for the figures and the machine.
    """
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(prompts * 3, 1, 16, 16, generator=generator)
    logits = F.interpolate(coarse, (LOW, LOW), mode="bicubic").view(prompts, 3, LOW, LOW)
    logits = logits + 0.05 * torch.randn(logits.shape, generator=generator)
    best = torch.randint(3, (prompts,), generator=generator)
    size = (height, width)
    table = Table(title=f"{prompts} prompts, {height} x {width} px, {torch.get_num_threads()} threads")
    for heading in ("model", "way", "median ms a mask", "times as fast"):
        table.add_column(heading, justify="left" if heading in ("model", "way") else "right")
    figures = []
    for model, published in (("SAM", _published_sam), ("EfficientSAM", _published_efficientsam)):
        ways: dict[str, Way] = {
            "as published": lambda published=published: published(logits, best, size),  # type: ignore[misc]
            "this project": lambda model=model: _ours(model, logits, best, size),  # type: ignore[misc]
        }
        _check(ways)
        seconds = _in_turn(ways, repeats)
        first = statistics.median(seconds["as published"])
        for way, times in seconds.items():
            middle = statistics.median(times)
            table.add_row(model, way, f"{1e3 * middle / prompts:.2f}", f"{first / middle:.1f}")
            figures.append({"model": model, "way": way, "ms": 1e3 * middle / prompts, "ratio": first / middle})
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps({"figures": figures, "made_with": provenance()}, indent=1) + "\n")


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


def _ours(model: str, logits: Tensor, best: Tensor, size: tuple[int, int]) -> list[Any]:
    segmenter = _segmenters()[model]
    picked = logits[torch.arange(len(best)), best][:, None]
    masks = segmenter.masks(picked, size)[:, 0].numpy()
    return list(encode_all(masks))


def _segmenters() -> dict[str, Any]:
    """Return segmenters of full-size networks' input size; their weights do not matter here."""
    if not _MADE:
        _MADE["EfficientSAM"] = untrained("efficientsam-ti")
        _MADE["SAM"] = untrained("mobilesam")
        assert isinstance(_MADE["EfficientSAM"], EfficientSamSegmenter)
        assert isinstance(_MADE["SAM"], SamSegmenter)
    return _MADE


_MADE: dict[str, Any] = {}


def _check(ways: dict[str, Way]) -> None:
    theirs, ours = (np.stack([rle.decode(one) for one in way()]) for way in ways.values())
    differing = float((theirs != ours).mean())
    if differing > 1e-4:
        raise SystemExit(f"masks differ in {differing:.2e} of the pixels: nothing was timed")


def _in_turn(ways: dict[str, Way], repeats: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with engine(exact=True), progress("timing", total=repeats * len(ways), unit="runs") as advance:
        for _ in range(repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - started)
                advance(1)
    return seconds


if __name__ == "__main__":
    tyro.cli(main)
