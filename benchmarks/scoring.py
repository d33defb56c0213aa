"""Full-size data opened, read and scored: ours against pycocotools and lvis. Run `python benchmarks/scoring.py`."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from unittest import mock

import numpy as np
import tyro
from full_size import Files, draw, write
from rich.console import Console
from rich.table import Table

from bench.data import Detections, open_detections, open_instances
from bench.metrics.ap import coco_ap, lvis_ap
from bench.progress import progress
from bench.provenance import provenance

OFFICIAL = {"coco": "pycocotools", "lvis": "lvis"}
FEW, MANY = 100, 1_000
"""Images over which the time of one is compared."""

Json = dict[str, Any]
Clock = Literal["wall", "cpu"]
CLOCKS = ("wall", "cpu")


class Measured(NamedTuple):
    """What one step took in a process of its own."""

    wall: float
    """Seconds on the clock."""
    cpu: float
    """Seconds of all cores together."""
    peak_gb: float
    """The most memory the process held, libraries included; NaN where the system does not say."""
    value: Any


@dataclass(frozen=True)
class Row:
    """A line of the table: what both took for the same work."""

    step: str
    ours: Measured
    official: Measured | None = None
    part: float = 1.0
    """The share of the images that the official package did; its time is divided by it."""

    def figures(self, clock: Clock) -> Json:
        """Return the line as plain values: of each its seconds by `clock`, both clocks, and its peak."""
        found: Json = {"step": self.step, **_plain(self.ours, clock)}
        if self.official is not None:
            official = _plain(self.official, clock)
            official |= {key: official[key] / self.part for key in ("seconds", *CLOCKS)}
            found |= {"official": official, "official_part": self.part}
            found["ratio"] = official["seconds"] / found["seconds"]
        return found


def _plain(one: Measured, clock: Clock) -> Json:
    clocks = {"wall": one.wall, "cpu": one.cpu}
    return {"seconds": clocks[clock], **clocks, "peak_gb": one.peak_gb}


def main(
    data: Annotated[tuple[Literal["coco", "lvis"], ...], tyro.conf.arg(metavar="{coco,lvis} ...")] = ("coco", "lvis"),
    scale: float = 1.0,
    lvis_part: float = 0.1,
    replicates: int = 500,
    clock: Clock = "wall",
    seed: int = 0,
    folder: Path | None = None,
    out: Path | None = None,
) -> None:
    """Measure COCO val2017 and LVIS v1 val at full size: time and peak memory of opening, iterating, and AP of masks.

    The files are drawn (benchmarks/full_size.py): as many images, annotations, categories and detections as published,
    in the published formats, with small masks. COCO: 5,000 images, 36,781 annotations, 92,850 detections. LVIS: 19,809
    images, 244,707 annotations, 3,000,000 detections (1 GB of disk, 8 GB of memory). Every step runs once, in a process
    of its own, on the cores this one may use.

    Files are opened for the first time, which makes the index, and again from the index; pycocotools and lvis read the
    annotations anew each time, and the results as JSON. AP is taken from the annotation file and from results in
    memory, by both. Precision and recall must equal theirs bit by bit, or nothing is printed. They have no bootstrap.

    Args:
        data: Which sets.
        scale: Of the published numbers of images, annotations and detections; 0.02 takes a minute.
        lvis_part: Share of the images that lvis scores, which takes it minutes; its time is divided by the share.
        replicates: Of the bootstrap over images; Tables 2 and 5 take 500.
        clock: What counts as a second in the table: one on the clock, or one of a core's work, of all cores together,
            which says more where other work runs on the same cores. The JSON has both.
        seed: Of everything drawn.
        folder: For the temporary files, 2 GB. Default: the system's.
        out: A JSON file for the figures and the machine.
    """
    found: dict[str, tuple[list[Json], list[Json]]] = {}
    with tempfile.TemporaryDirectory(prefix="full-size-", dir=folder) as temporary:
        # The steps inherit it: an index made by one is there for the next, and none from before.
        os.environ["BENCH_CACHE"] = str(Path(temporary) / "cache")
        for name in dict.fromkeys(data):
            part = lvis_part if name == "lvis" else 1.0
            whole, fewer = _alone(_drawn, name, scale, seed, part, Path(temporary)).value
            rows, images = _steps(whole, fewer, replicates)
            found[name] = [row.figures(clock) for row in rows], images
    _show(found, scale, clock)
    if out is not None:
        figures = {name: {"steps": rows, "images": images} for name, (rows, images) in found.items()}
        settings = {"scale": scale, "seed": seed, "replicates": replicates, "clock": clock}
        out.write_text(json.dumps({**settings, "figures": figures, "made_with": provenance()}, indent=1) + "\n")


def _drawn(name: str, scale: float, seed: int, part: float, folder: Path) -> Measured:
    """Write a data set, and again with a share of its images."""
    started = _now()
    world = draw(name, scale, seed)
    whole = write(world, folder / name, name)
    fewer = whole
    if part < 1:
        fewer = write(world, folder / f"{name}-part", name, max(1, round(part * whole.images)))
    return _since(started, (whole, fewer))


def _steps(whole: Files, fewer: Files, replicates: int) -> tuple[list[Row], list[Json]]:
    """Measure one data set, parity first: the rows, and what an image takes where there are few and many."""
    name = whole.name
    parts = whole != fewer
    counts = sorted({min(n, whole.images) for n in (FEW, MANY, whole.images)})
    with progress(f"measuring {name}", total=9 + len(counts) + 2 * parts, unit="steps") as advance:

        def measured(step: Callable[..., Measured], *arguments: Any) -> Measured:
            result = _alone(step, *arguments)
            advance(1)
            return result

        first_boxes = measured(_open_detections, whole)
        if parts:
            measured(_open_detections, fewer)  # what makes the index is no part of what follows
        official, same = measured(_official_ap, fewer), measured(_ap, fewer, 0)
        _assert_equal(name, same.value, official.value)
        official, same = official._replace(value=None), same._replace(value=None)
        scored = measured(_ap, whole, 0)._replace(value=None) if parts else same
        truth, results = (measured(step, whole) for step in (_official_truth, _official_results))
        rows = [
            Row("annotations, first", measured(_open_annotations, whole), truth),
            Row("annotations, again", measured(_open_annotations, whole), truth),
            Row("detections, first", first_boxes, results),
            Row("detections, again", measured(_open_detections, whole), results),
        ]
        runs = {n: measured(_iterate, whole, n) for n in counts}
        rows.append(Row(f"read {whole.images:,} images", runs[whole.images]))
        if parts:
            rows.append(Row(f"AP, {fewer.detections:,} masks", same, official))
        rows.append(Row(f"AP, {whole.detections:,} masks", scored, official, fewer.images / whole.images))
        rows.append(Row(f"AP, {replicates:,} replicates", measured(_ap, whole, replicates)))
    return rows, [{"images": n, "ms_an_image": 1e3 * run.value, "peak_gb": run.peak_gb} for n, run in runs.items()]


def _alone(step: Callable[..., Measured], *arguments: Any) -> Measured:
    """Run a step in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(step, *arguments).result()


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float], value: Any = None) -> Measured:
    seconds = [now - then for now, then in zip(_now(), started, strict=True)]
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    peak = next((int(line.split()[1]) / 2**20 for line in lines if line.startswith("VmHWM")), float("nan"))
    return Measured(*seconds, peak, value)


def _open_annotations(files: Files) -> Measured:
    started = _now()
    instances = open_instances(files.name, files.root)
    assert len(instances.images) == files.images
    return _since(started)


def _open_detections(files: Files) -> Measured:
    started = _now()
    detections = open_detections(files.results)
    assert detections.has_masks
    return _since(started)


def _iterate(files: Files, images: int) -> Measured:
    """Read annotations, boxes and masks of the first images; the value is core seconds an image, the best of five."""
    instances, detections = open_instances(files.name, files.root), open_detections(files.results)
    chosen = instances.images[:images]
    each = []
    first = _now()
    for _ in range(1 if images > MANY else 5):
        started = time.process_time()
        for image in chosen:
            instances.annotations(image.id)
            detections.for_image(image.id)
            detections.masks_for_image(image.id)
        each.append((time.process_time() - started) / len(chosen))
    return _since(first, min(each))


def _results(detections: Detections) -> list[Json]:
    """Return mask results as the tables hand them to the scorer."""
    return [
        {
            "image_id": image_id,
            "category_id": category_id,
            "segmentation": {"size": list(mask.size), "counts": mask.counts},
            "score": score,
        }
        for image_id in detections.image_ids.tolist()
        for category_id, score, mask in _columns(detections, image_id)
    ]


def _columns(detections: Detections, image_id: int) -> Iterable[tuple[int, float, Any]]:
    found = detections.for_image(image_id)
    masks = detections.masks_for_image(image_id)
    return zip(found.category_id.tolist(), found.scores.tolist(), masks, strict=True)


def _ap(files: Files, replicates: int) -> Measured:
    results = _results(open_detections(files.results))
    score = {"coco": coco_ap, "lvis": lvis_ap}[files.name]
    started = _now()
    found = score(files.annotations, results, replicates=replicates)
    return _since(started, None if replicates else (found.precision, found.recall))


def _official_truth(files: Files) -> Measured:
    started = _now()
    with _quiet():
        _official(files.name)[0](str(files.annotations))
    return _since(started)


def _official_results(files: Files) -> Measured:
    """Parse the results, which is the least an evaluator does with them."""
    started = _now()
    with files.results.open() as file:
        assert len(json.load(file)) == files.detections
    return _since(started)


def _official_ap(files: Files) -> Measured:
    results = _results(open_detections(files.results))
    truth_class, load, evaluator_class = _official(files.name)
    started = _now()
    with _quiet(), mock.patch.object(np, "float", float, create=True):  # lvis 0.5.3 was written for numpy 1.19
        truth = truth_class(str(files.annotations))
        evaluator = evaluator_class(truth, load(truth, results), "segm")
        evaluator.evaluate()
        evaluator.accumulate()
    return _since(started, (evaluator.eval["precision"], evaluator.eval["recall"]))


def _official(name: str) -> tuple[Any, Callable[[Any, list[Json]], Any], Any]:
    """Return a data set's official reader, loader of results and evaluator."""
    if name == "coco":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        return COCO, COCO.loadRes, COCOeval
    from lvis import LVIS, LVISEval, LVISResults

    logging.getLogger("lvis").setLevel(logging.ERROR)
    return LVIS, LVISResults, LVISEval


def _quiet() -> contextlib.AbstractContextManager[Any]:
    return contextlib.redirect_stdout(io.StringIO())


def _assert_equal(name: str, ours: tuple[np.ndarray, ...], official: tuple[np.ndarray, ...]) -> None:
    for what, mine, theirs in zip(("precision", "recall"), ours, official, strict=True):
        if not np.array_equal(mine.reshape(theirs.shape), theirs):
            raise SystemExit(f"{name}: {what} is not that of {OFFICIAL[name]} to the bit: nothing is printed")
    if not (official[0] > 0).any():
        raise SystemExit(f"{name}: nothing was found, so nothing is compared: take a larger --scale")


def _show(found: dict[str, tuple[list[Json], list[Json]]], scale: float, clock: Clock) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    console = Console()
    for name, (rows, images) in found.items():
        official = OFFICIAL[name]
        console.print(f"{name}: precision and recall equal {official}'s to the bit")
        unit = "s" if clock == "wall" else "core s"
        table = Table(title=f"{name} at scale {scale:g}, {cores} {'core' if cores == 1 else 'cores'}")
        for heading in ("", unit, "peak GB", official, "peak GB", "ratio"):
            table.add_column(heading, justify="right" if heading else "left")
        for row in rows:
            table.add_row(row["step"], *_cells(row))
        console.print(table)
        for part in {row["official_part"] for row in rows if row.get("official_part", 1) < 1}:
            console.print(f"* from {part:.3g} of the images, seconds divided by that; peak of that part")
        for one in images:
            console.print(f"{one['ms_an_image']:.3f} ms an image over {one['images']:,}, peak {one['peak_gb']:.2f} GB")


def _cells(row: Json) -> list[str]:
    cells = [f"{row['seconds']:.2f}", f"{row['peak_gb']:.2f}"]
    if "official" not in row:
        return cells
    star = "*" if row["official_part"] < 1 else ""
    official = row["official"]
    return [
        *cells,
        *(f"{n}{star}" for n in (f"{official['seconds']:.2f}", f"{official['peak_gb']:.2f}", f"{row['ratio']:.1f}")),
    ]


if __name__ == "__main__":
    tyro.cli(main)
