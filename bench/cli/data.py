"""`bench data`: what is on disk, whole or not, and what to download from where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from bench import data, paths
from bench.cli.as_json import AsJson, print_json
from bench.data.dead_leaves import world_root
from bench.data.dead_leaves.ade20k import ade20k_root
from bench.data.dead_leaves.detection import detection_root
from bench.data.dead_leaves.imagenet import imagenet_root
from models.errors import BenchError, printable, unknown_name


def verify(
    names: tyro.conf.Positional[tuple[str, ...]] = ("coco", "lvis"), root: Path | None = None, as_json: AsJson = False
) -> None:
    """Check data sets: layout, counts, image files, and hashes where any were published.

    Args:
        names: coco, lvis, coco-boxes, lvis-boxes, ade20k, imagenet or sa1b.
        root: Folder of the data sets; $BENCH_DATA if not given.
        as_json: Print what was found as JSON.
    """
    folder = root or paths.data_root()
    if folder is None:
        raise BenchError("no data folder: set BENCH_DATA or give --root; `bench run --scale micro` needs none")
    reports = [data.verify(name, folder) for name in names]
    if as_json:
        print_json(reports)
    for report in reports if not as_json else []:
        word = "complete" if report.complete else "usable" if report.ok else "NOT USABLE"
        print(f"{report.name}: {word}")
        for line in report.lines:
            print(f"  {printable(line)}")
    if not all(report.ok for report in reports):
        raise SystemExit(1)


WORLDS: dict[str, Callable[[], Path]] = {
    "coco": world_root,
    "detection": detection_root,
    "ade20k": ade20k_root,
    "imagenet": imagenet_root,
}
"""Dead leaves by what they are asked for; LVIS comes with coco (Table 4) and with detection (Tables 2 and 5)."""


def render(names: tyro.conf.Positional[tuple[str, ...]] = tuple(WORLDS)) -> None:
    """Draw the dead leaves, the micro scale's data, into the cache and say where they are.

    Args:
        names: coco (with lvis), detection (coco and lvis again), ade20k and imagenet; all if none is named.
    """
    strangers = [name for name in names if name not in WORLDS]
    if strangers:
        raise unknown_name("world", strangers[0], WORLDS)
    for name in names:
        print(WORLDS[name]())


def cache_features(
    teacher: tyro.conf.Positional[str], /, out: Path = Path("training"), weights: Path | None = None
) -> None:
    """Cache a micro teacher's features for every crop of pretraining; training reads them instead of asking it.

    Args:
        teacher: sam-micro or clip-micro.
        out: Folder of all trainings; the features go to <out>/features-<teacher>.
        weights: Folder of the committed weights, if not this package's.
    """
    from bench.training import features, options  # training's imports take a second

    own: dict[str, Any] = {} if weights is None else {"weights": weights}
    features.cache_features(teacher, options.Options(out=out, **own))
