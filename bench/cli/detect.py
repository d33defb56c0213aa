"""`bench detect DETECTOR`: a detector's boxes and masks as the file that Table 5 needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from bench import paths
from bench.cli.run import OUT, run_settings, say
from bench.data import Instances, open_instances
from bench.data.catalog import BOX_SETS
from bench.data.dead_leaves.detection import detection_root
from bench.processes import this_process
from bench.progress import notice
from models.engines.float32 import engine, threads
from models.errors import BenchError, printable
from models.vitdet import cascades as box_detectors
from models.vitdet.cascades import DataSet, Engine
from protocols import table2
from protocols.prompts import box_files
from protocols.run import run_model
from protocols.scores import CellRun
from protocols.settings import Settings

_LABELS = {"ap_box": "box AP", "ap_mask": "mask AP"}


def detect(
    detector: tyro.conf.Positional[str],
    /,
    data: DataSet = "coco",
    engine: Engine = "auto",
    checkpoint: Path | None = None,
    device: str = "cpu",
    limit: int | None = None,
    out: Path | None = None,
) -> None:
    """Run a detector over a data set and write what it finds as a COCO results file, boxes and masks.

    `bench run table5` then asks its models about these boxes. What was found before is taken from ./runs (or
    $BENCH_RUNS), so a killed run goes on where it was; several processes (torchrun) share the photos.

    Args:
        detector: vitdet-h, -l or -b (cascades, detectron2's published files); vitdet-mae-b and the other detectors of
            Table 2; vitdet-sami-ti-micro and its like, about dead leaves.
        data: coco or lvis, under $BENCH_DATA.
        engine: torchvision needs nothing more; detectron2 is a package of its own and alone has cascades. auto
            is torchvision where it can.
        checkpoint: Weights to use instead of the published ones: safetensors, or detectron2's .pkl or .pth.
        device: Where the detector runs, e.g. cpu or cuda.
        limit: Ask about the first photos only; the file then goes elsewhere.
        out: File to write. Default: for published photos where Table 5 looks for it, under $BENCH_DATA; else
            reports/out.
    """
    settings = run_settings(limit, device)
    micro = box_detectors.card(detector, data).scale == "micro"
    root = detection_root() if micro else _data_root(detector)
    instances = open_instances(data, root)
    expected = root / BOX_SETS[f"{data}-boxes"].file
    aside = OUT / f"{detector}-{data}{'' if limit is None else f'-first-{limit}'}.json"
    target = _target(out, expected, aside if micro or limit is not None else expected, limit)
    model = box_detectors.load(detector, data, checkpoint, engine=engine, device=device)
    run = detect_all(model, instances, settings, cpu_threads=1 if micro else None)
    if not this_process().is_first:
        notice(f"{model.name}: {this_process()} is done; the first one writes the file")
        return
    _tell(model.name, run, instances, limit)
    box_files.write_results(run, target)
    print(f"wrote {printable(str(target))}", flush=True)
    if instances.n_annotations:
        for key, ap in box_files.score(run, instances).items():
            print(f"{_LABELS[key]} {100 * ap.value:.1f} [{100 * ap.low:.1f}, {100 * ap.high:.1f}]")


def detect_all(model: Any, instances: Instances, settings: Settings, *, cpu_threads: int | None = None) -> CellRun:
    """Ask a detector about all photos of a data set, or the first `settings.limit`; one record a detection.

    Raises:
        BenchError: if it knows other classes, fails, or no photo can be read; finished shards stay.
    """
    table2.check_classes(model, instances)
    with engine(exact=True), threads(cpu_threads):
        (run,) = run_model(model, [(table2, table2.data_set(instances, settings.limit))], settings)
    assert isinstance(run, CellRun)
    return run


def _data_root(detector: str) -> Path:
    root = paths.data_root()
    if root is None:
        raise BenchError(f"'{detector}' is asked about photos in BENCH_DATA: set it, or ask a micro detector")
    return root


def _target(out: Path | None, expected: Path, default: Path, limit: int | None) -> Path:
    """Return where the file goes: a limited one never where a full one is expected, none over one that is there.

    Raises:
        BenchError: if it may not go there.
    """
    target = default if out is None else out
    if limit is not None and target.resolve() == expected.resolve():
        raise BenchError(
            f"{target} is where Table 5 expects boxes in all photos: leave out --limit, or give another --out"
        )
    if target == expected and out is None and target.exists():
        raise BenchError(f"{target} is there already: move it away, or give --out to keep both")
    return target


def _tell(name: str, run: CellRun, instances: Instances, limit: int | None) -> None:
    """Print what was found, and what was left out."""
    asked, found = len(run.image_ids), run.records["image_id"].nunique()
    print(f"{name} on {instances.name}: {len(run.records):,} detections in {found:,} of {asked:,} images")
    if limit is not None:
        print(f"limited run: the first {limit:,} of {len(instances.images):,} images")
    for why in (*(f"left out {one}" for one in run.skipped.values()), *map(str, instances.problems)):
        say(why)
