"""What is compared: a stored run or a file of masks, with its records and what they are about; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from bench.data import Instances, open_detections, open_instances
from bench.data.own import OwnData, open_own
from bench.store import RunStore
from bench.store.stored import SHORTEST, StoredRun, about, find_run
from models.errors import BenchError, MissingData
from protocols import tables
from protocols.axes import PAPER, Axes, most_detections
from protocols.chosen import NAMES
from protocols.masks_file import PREFIX, detector_records
from protocols.shards import SKIPPED, asked_about

OF_FILES = "table5"
"""The table that scores files of masks."""
DATA_SETS = ("coco", "lvis")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two that are compared."""

    name: str
    """As it is shown."""
    table: str
    model: str
    """As commands call it; empty for a file of masks."""
    data_set: str
    axes: Axes
    """The choices that decided its records; those of scoring are the paper's."""
    records: pd.DataFrame
    """Without images that could not be read."""
    asked: frozenset[int]
    """The images that were asked about."""
    origin: Mapping[str, Any]
    """What else decided its records: version, model, data, code."""


def find_side(name: str, table: str, data_set: str, store: RunStore | None = None) -> StoredRun | Path:
    """Return what a name stands for.

    Args:
        name: a results file or masks:FILE; a run as `bench.store.stored.find_run` takes it; or a model, whose finished
            run of `table` on `data_set` that was written last is meant.
        table: of models.
        data_set: of models.
        store: where runs lie.

    Raises:
        BenchError: if it stands for nothing.
    """
    path = Path(name.removeprefix(f"{PREFIX}:")).expanduser()
    if path.is_file():
        return path
    if name.startswith(f"{PREFIX}:") or path.suffix == ".json":
        raise BenchError(f"there is no file '{path}' of masks: check the path")
    hexadecimal = len(name) >= SHORTEST and set(name) <= set("0123456789abcdef")
    if path.is_dir() or hexadecimal or name.partition("/")[0] in tables.names():
        return find_run(name, store)
    return find_run(f"{table}/{name}/{data_set}", store)


def open_source(found: Sequence[StoredRun | Path], own: OwnData | None, data_root: Path | None) -> Instances | None:
    """Return the annotated images that runs or files are about; None where they are not on this machine.

    Args:
        found: what is compared; runs say by the hash of the annotation file which it is.
        own: data of the user's own, where these are meant.
        data_root: BENCH_DATA, or None.

    Raises:
        BenchError: if `own` is not what a run is about, or nothing here is what files of masks alone are about.
    """
    runs = [run for run in found if isinstance(run, StoredRun)]
    wanted = {str(run.identity["data"]["sha256"]) for run in runs}
    name = about(runs[0].identity)[2] if runs else DATA_SETS[0]
    if own is not None:
        given = open_own(own)
        if wanted and wanted != {given.sha256}:
            raise BenchError(
                f"{own.annotations} is not what {runs[0].folder} was asked about: name the annotation file of that run"
            )
        return given
    table = tables.find(about(runs[0].identity)[0] if runs else OF_FILES)
    for root in (data_root, table.micro_root):
        source = _opened(name, root() if callable(root) else root)
        if source is not None and (source.sha256 in wanted if wanted else _fits(source, found)):
            return source
    if runs:
        return None
    raise BenchError("the files are of no data set that is here: give --data coco:ANNOTATIONS.json,IMAGES/")


def _opened(name: str, root: Path | None) -> Instances | None:
    try:
        return None if root is None or name not in DATA_SETS else open_instances(name, root)
    except MissingData:
        return None


def _fits(source: Instances, files: Sequence[StoredRun | Path]) -> bool:
    """Say whether files of masks are of the images and categories of a data set."""
    opened = [open_detections(file) for file in files if isinstance(file, Path)]
    return not any(one.strangers(source) or one.misplaced_mask(source.sizes) for one in opened)


def open_side(found: StoredRun | Path, source: Instances | None) -> Side:
    """Return a run or a file of masks with its records.

    Raises:
        BenchError: if a run is not finished or damaged, or a file cannot be scored on these data.
    """
    if isinstance(found, StoredRun):
        return _side_of_run(found, source)
    assert source is not None
    return _side_of_file(found, source)


def _side_of_run(run: StoredRun, source: Instances | None) -> Side:
    table, model, data_set = about(run.identity)
    records = run.records()
    left_out = set(records.loc[records[SKIPPED] != "", "image_id"])
    kept = records[records[SKIPPED] == ""].drop(columns=SKIPPED)
    asked = _asked(run, source) or set(kept["image_id"])
    return Side(
        name=f"{model} ({run.fingerprint[:8]})",
        table=table,
        model=model,
        data_set=data_set,
        axes=axes_of(run.identity),
        records=kept,
        asked=frozenset(asked - left_out),
        origin={name: value for name, value in run.identity.items() if name not in ("axes", "images")},
    )


def _asked(run: StoredRun, source: Instances | None) -> set[int]:
    """Return the images that a run was asked about, empty where it cannot be told: those with records are then all."""
    images = run.identity.get("images", {})
    if source is None:
        return set()
    first = source.images[: int(images.get("count", 0))]
    same = asked_about(first).identity() == {"count": images.get("count"), "sha256": images.get("sha256")}
    return {info.id for info in first} if same else set()


def _side_of_file(path: Path, source: Instances) -> Side:
    detections = open_detections(path)
    problem = detections.misplaced_mask(source.sizes) or next(map(str, detections.strangers(source)), "")
    if problem:
        raise MissingData(f"{path} cannot be compared on {source.name.upper()}: {problem}")
    data_set = next((name for name in DATA_SETS if source.name == name), _form(source))
    most = most_detections(data_set, PAPER)
    rows = [record for info in source.images for record in detector_records(info, detections, most)]
    return Side(
        name=path.name,
        table=OF_FILES,
        model="",
        data_set=data_set,
        axes=PAPER,
        records=pd.DataFrame(rows),
        asked=frozenset(info.id for info in source.images),
        origin={"data": {"name": data_set, "sha256": source.sha256}, "file": detections.sha256},
    )


def _form(source: Instances) -> str:
    """Return whose format data of the user's own have: LVIS's images say which categories they lack."""
    federated = any(info.neg_category_ids or info.not_exhaustive_category_ids for info in source.images)
    return "lvis" if federated else "coco"


def axes_of(identity: Mapping[str, Any]) -> Axes:
    """Return the choices that a run's identity holds; those that it does not hold are the paper's."""
    given: dict[str, Any] = {name: value for name, value in identity.get("axes", {}).items() if name in NAMES}
    if "columns" in given and given["columns"] is not None:
        given["columns"] = tuple(given["columns"])  # JSON has lists
    return replace(PAPER, **given)


def table_of(side: Side) -> ModuleType:
    """Return the module of a side's table."""
    return tables.find(side.table)
