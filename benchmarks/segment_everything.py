"""Segment everything against segment_anything's own generator. Run `python benchmarks/segment_everything.py`."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry
from segment_anything.modeling import Sam
from turns import WORKER, own_process

from bench.data.dead_leaves.scene import draw_scene
from bench.data.images import read_rgb
from bench.progress import progress
from bench.provenance import provenance
from models.annotations import decode, stability_scores
from models.engines.float32 import engine
from models.everything.segment import DEFAULT, Settings, segment_everything
from models.sam.build import sam_vit_b
from models.sam.segmenter import SamSegmenter
from models.segmenter import Prompts
from models.speed import forget_peak, peak

PUBLISHED = "segment_anything"
OURS = "this project"
COMMAND = "this project, as `bench segment` runs it"

WAYS = (PUBLISHED, OURS, COMMAND)
CPU = torch.device("cpu")

Records = Sequence[Any]


def main(
    photo: Path | None = None,
    checkpoint: Path | None = None,
    points_per_side: int = 32,
    confident: float = 0.3,
    stable: float = 0.5,
    repeats: int = 1,
    out: Path | None = None,
) -> None:
    """Time SAM ViT-B over a grid of points, in turn with segment_anything's generator on the same weights.

    First each segments a grid of 8 x 8 points, and what they find must agree. Ways take turns in processes of their
    own, the published one with the allocator that it is published with. Peak memory is that of the whole process,
    weights and libraries included (Linux only). `bench segment` multiplies matrices by the exact engine
    (models/engines/float32.py); the row before it does so as segment_anything does.

    Args:
        photo: What is segmented. Default: dead leaves at 640 x 480 px.
        checkpoint: sam_vit_b_01ec64.pth, asked with the published thresholds. Default: random weights, with thresholds
            that let as many candidates through as the next two options say.
        points_per_side: Of the grid.
        confident: Share of all candidates whose predicted IoU is high enough.
        stable: Share of the confident ones that are stable enough.
        repeats: Timed runs of each; the median counts.
        out: A JSON file for the figures and the machine.
    """
    image, official, segmenter = _models(photo, checkpoint)
    few = DEFAULT if checkpoint else _thresholds(segmenter, image, confident, stable)
    few = replace(few, points_per_side=8)
    del official, segmenter
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    peaks: dict[str, list[float]] = {way: [] for way in WAYS}
    found: dict[str, Any] = {}
    with progress("timing", total=repeats * len(WAYS), unit="runs") as advance:
        for _ in range(repeats):
            for way in WAYS:
                given = (way, photo or "", checkpoint or "", points_per_side, json.dumps(asdict(few)))
                found[way] = json.loads(own_process(__file__, *given, published=way == PUBLISHED))
                seconds[way].append(found[way]["seconds"])
                peaks[way].append(found[way]["peak_gb"])
                advance(1)
    agreement = [_differing(found[way]["few"], found[PUBLISHED]["few"]) for way in (OURS, COMMAND)]
    count, size = len(found[PUBLISHED]["few"]), f"{image.shape[1]} x {image.shape[0]} px"
    Console().print(f"8 x 8 points: the same {count} masks, of which at most {max(agreement)} pixels differ")
    table = Table(
        title=f"SAM ViT-B, {size}, {points_per_side} x {points_per_side} points, {torch.get_num_threads()} threads"
    )
    for heading in ("", "masks", "seconds", "times as fast", "peak GB"):
        table.add_column(heading, justify="right" if heading else "left")
    slow = statistics.median(seconds[PUBLISHED])
    figures = []
    for way in WAYS:
        middle, peak, masks = statistics.median(seconds[way]), max(peaks[way]), found[way]["masks"]
        table.add_row(way, f"{masks}", f"{middle:.1f}", f"{slow / middle:.2f}", f"{peak:.2f}")
        figures.append({"way": way, "masks": masks, "seconds": middle, "ratio": slow / middle, "peak_gb": peak})
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps({"figures": figures, "made_with": provenance()}, indent=1) + "\n")


def worker(way: str, photo: str, checkpoint: str, points_per_side: int, settings: str) -> None:
    """Segment one way, first a few points and then all on the clock, and print what came out."""
    image, official, segmenter = _models(Path(photo) if photo else None, Path(checkpoint) if checkpoint else None)
    few = Settings(**json.loads(settings))

    def run(settings: Settings) -> Records:
        if way == PUBLISHED:
            generator = SamAutomaticMaskGenerator(official, output_mode="coco_rle", **asdict(settings))
            return generator.generate(image)  # type: ignore[no-any-return]
        with engine(exact=way == COMMAND):
            return segment_everything(segmenter, image, settings)

    first = [{key: one[key] for key in ("point_coords", "segmentation")} for one in run(few)]
    forget_peak(CPU)
    started = time.perf_counter()
    found = run(replace(few, points_per_side=points_per_side))
    seconds = time.perf_counter() - started
    print(json.dumps({"few": first, "masks": len(found), "seconds": seconds, "peak_gb": peak(CPU) / 2**30}))


def _models(photo: Path | None, checkpoint: Path | None) -> tuple[np.ndarray, Sam, SamSegmenter]:
    """Return the photo, and segment_anything's network and ours with the same weights, once in memory."""
    torch.manual_seed(0)
    image = _dead_leaves() if photo is None else read_rgb(photo)
    official: Sam = sam_model_registry["vit_b"](checkpoint=checkpoint and str(checkpoint)).eval()
    if checkpoint is None:
        _enliven(official)
    network = sam_vit_b()
    network.load_state_dict(official.state_dict(), assign=True)
    return image, official, SamSegmenter(network, name="sam-vit-b")


def _dead_leaves() -> np.ndarray:
    scene = Image.fromarray(draw_scene(1, 0).image)
    return np.array(scene.resize((640, 480), Image.Resampling.BICUBIC))


def _enliven(network: torch.nn.Module) -> None:
    """Give every layer unit gain, so that random answers depend on the image and on the point, as trained ones do."""
    with torch.no_grad():
        for name, entry in network.named_parameters():
            if entry.ndim > 1:
                entry.normal_(std=0.1 if "pos" in name else entry[0].numel() ** -0.5)
            else:
                entry.normal_(float(name.endswith("weight")), 0.1)


def _thresholds(segmenter: SamSegmenter, image: np.ndarray, confident: float, stable: float) -> Settings:
    """Return settings under which random weights let so many candidates through, as 64 points tell."""
    height, width = image.shape[:2]
    (embedding,) = segmenter.embed([image])
    points = np.random.default_rng(0).uniform(0, (width, height), (64, 1, 2))
    logits, predicted_iou = segmenter.segment(embedding, Prompts(points, np.ones((64, 1))))
    least = float(predicted_iou.quantile(1 - confident))
    chosen = logits[predicted_iou > least][:, None]
    offset = 0.02 * float(logits.std())
    scores = torch.cat([stability_scores(segmenter.upscale(one[None], (height, width)), offset) for one in chosen])
    return replace(
        DEFAULT,
        pred_iou_thresh=least,
        stability_score_thresh=float(scores.nanquantile(1 - stable)),
        stability_score_offset=offset,
        box_nms_thresh=1.0,  # random masks span the photo: none would be left to compare
    )


def _differing(ours: Records, published: Records) -> int:
    """Return by how many pixels the masks differ that differ most.

    Raises:
        SystemExit: if other masks were found, or in another order.
    """
    if [one["point_coords"] for one in ours] != [one["point_coords"] for one in published] or not published:
        raise SystemExit(f"not the same: {len(ours)} masks here, {len(published)} there")
    pairs = [[decode(one["segmentation"]) for one in pair] for pair in zip(ours, published, strict=True)]
    differing = max(int(np.count_nonzero(mine != theirs)) for mine, theirs in pairs)
    if differing > 1e-3 * pairs[0][0].size:
        raise SystemExit(f"not the same: {differing} pixels of a mask differ")
    return differing


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER]:
        which, picture, weights, side, told = sys.argv[2:]
        worker(which, picture, weights, int(side), told)
    else:
        tyro.cli(main)
