"""Assemble a table: run every cell, score it, compare the rows the paper compares."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple

from bench.data import (
    Detections,
    ImageInfo,
    Instances,
    is_published_boxes,
    is_published_set,
    open_detections,
    open_instances,
)
from bench.data.catalog import BOX_SETS, missing
from bench.metrics.interval import Interval
from models import zoo
from models.engine import exact_engine, threads
from models.errors import BenchError, MissingData, UnsupportedPrompt, unknown_name
from protocols import table4, table5
from protocols import table4_prompts as interactive
from protocols import table5_prompts as instance
from protocols.axes import Axes, departures
from protocols.cells import Cell as Work
from protocols.cells import run_cell
from protocols.paper import paper_difference, paper_value
from protocols.plan import Plan, Subject
from protocols.predictors import FRAMES, Answerer, ModelAnswerer
from protocols.prompts import jittered_boxes as boxes
from protocols.results import Cell, Column, Comparison, Status, TableResult
from protocols.rows import COMPARED, TABLE4, TABLE5, PaperRow
from protocols.scores import CellRun, Scores
from protocols.settings import Settings as CommonSettings
from protocols.verdicts import compared

PROTOCOLS: dict[str, ModuleType] = {"table4": table4, "table5": table5}
ANSWERERS: dict[str, Callable[[], Any]] = {**FRAMES, instance.DETECTOR: instance.Detector}
"""What answers without weights."""
ASK: dict[str, Callable[..., list[dict[str, object]]]] = {
    "table4": interactive.ask_image,
    "table5": instance.ask_image,
}
PAPER_ROWS: dict[str, tuple[PaperRow, ...]] = {"table4": TABLE4, "table5": TABLE5}


class Refused(NamedTuple):
    """Why a cell has no answer."""

    status: Status
    why: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set, opened, with the images that are asked."""

    instances: Instances
    images: tuple[ImageInfo, ...]
    detections: Detections | None
    mask_problem: str = ""
    """Why the detector's own masks cannot be scored, empty if they can."""

    @property
    def published(self) -> bool:
        """Whether these are all the published images, annotations and boxes."""
        whole = is_published_set(self.instances) and len(self.images) == len(self.instances.images)
        return whole and (self.detections is None or is_published_boxes(self.detections))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(CommonSettings):
    """Settings of a promptable table; a limit takes the first images by id."""

    axes: Axes
    preset: str
    trusted: frozenset[str] = frozenset()
    """sha256 of checkpoints that may be read though their reading runs code."""


def protocol_of(table: str) -> ModuleType:
    """Return the protocol module of a table.

    Raises:
        BenchError: for a table that has none.
    """
    if table not in PROTOCOLS:
        raise unknown_name("table", table, PROTOCOLS)
    return PROTOCOLS[table]


def make_table(table: str, plan: Plan, settings: Settings) -> TableResult | None:
    """Measure everything the plan has a subject for and return the table; None on all but the first process.

    Raises:
        BenchError: if no data set is there, or a model or its data fail; finished shards stay.
    """
    protocol = protocol_of(table)
    columns = asked_columns(protocol, settings)
    engine = exact_engine()
    data, absent = _open_all(protocol, plan, settings, dict.fromkeys(c.key.split("_", 1)[0] for c in columns))
    runs: dict[tuple[str, str], CellRun | Refused] = {}
    loaded: dict[str, dict[str, Any]] = {}
    for subject in plan.subjects:
        answerer, identity = _load(subject, settings)
        loaded[subject.row] = identity
        for name, data_set in data.items():
            if subject.model == instance.DETECTOR and data_set.mask_problem:
                runs[subject.row, name] = Refused("data missing", data_set.mask_problem)
                continue
            work = Work(
                protocol=protocol,
                ask_image=instance.ask_detector if subject.model == instance.DETECTOR else ASK[table],
                answerer=answerer,
                model_identity=identity,
                instances=data_set.instances,
                images=data_set.images,
                axes=settings.axes,
                detections=data_set.detections,
            )
            with threads(zoo.card(subject.model).threads if subject.has_weights else None):
                runs[subject.row, name] = _run(work, settings)
    if os.environ.get("RANK", "0") != "0":
        return None
    scores = {
        key: protocol.score(run, data[key[1]].instances, settings.axes)
        for key, run in runs.items()
        if isinstance(run, CellRun)
    }
    whole = all(d.published for d in data.values()) and not absent
    facts = {
        "axes": asdict(settings.axes),
        "models": loaded,
        "data": {name: {"sha256": d.instances.sha256, "images": len(d.images)} for name, d in data.items()},
        "boxes": {name: d.detections.sha256 for name, d in data.items() if d.detections is not None},
        "runs": {f"{row} on {name}": r.fingerprint for (row, name), r in runs.items() if isinstance(r, CellRun)},
        "engine": engine,
    }
    return TableResult(
        name=table,
        title=protocol.TITLE,
        scale=plan.scale,
        world=f"{plan.world} ({_extent(data)})",
        comparable=plan.scale == "paper" and whole and settings.axes.exact,
        preset=settings.preset,
        columns=columns,
        rows=plan.rows,
        cells=tuple(_cells(table, columns, plan, runs, scores, absent)),
        comparisons=tuple(_comparisons(table, columns, plan, scores)),
        footnotes=tuple(_footnotes(protocol, columns, plan, settings, data, runs)),
        command=settings.command,
        provenance={**settings.provenance, **facts},
    )


def asked_columns(protocol: ModuleType, settings: Settings) -> tuple[Column, ...]:
    """Return the columns that the preset's evaluator has, each with what keeps it apart from the paper's.

    Raises:
        BenchError: if it has none of this table.
    """
    wanted = settings.axes.columns
    columns = [column for column in protocol.COLUMNS if wanted is None or column.key in wanted]
    if not columns:
        raise BenchError(
            f"preset '{settings.preset}' has no column of {protocol.NAME}, its evaluator measures "
            f"{', '.join(wanted or ())}: choose another table or preset"
        )
    return tuple(replace(column, apart=_apart(protocol, column.key, settings.axes)) for column in columns)


def _apart(protocol: ModuleType, key: str, axes: Axes) -> str:
    data_set, kind = key.split("_", 1)
    return departures(axes, (*protocol.MATTERS[kind], *(("lvis_images",) if data_set == "lvis" else ())))


def _open_all(
    protocol: ModuleType, plan: Plan, settings: Settings, names: Iterable[str]
) -> tuple[dict[str, DataSet], dict[str, str]]:
    """Open the data sets of some columns; return those that are there, and why the others are not.

    Raises:
        BenchError: if none is there.
    """
    data: dict[str, DataSet] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            data[name] = _open(protocol, name, plan, settings.limit, settings.axes)
        except MissingData as error:
            absent[name] = str(error)
    if not data:
        raise BenchError(next(iter(absent.values())))
    return data, absent


def _open(protocol: ModuleType, name: str, plan: Plan, limit: int | None, axes: Axes) -> DataSet:
    instances = open_instances(name, plan.data_root)
    val2017_alone = name == "lvis" and axes.lvis_images == "val2017"
    images = tuple(info for info in instances.images if not val2017_alone or info.path.parent.name == "val2017")[:limit]
    detections = None
    if hasattr(protocol, "MOST_DETECTIONS"):
        boxes_of = BOX_SETS[f"{name}-boxes"]
        path = plan.data_root / boxes_of.file
        if path.is_file():
            detections = open_detections(path)
        elif is_published_set(instances):
            own = f"or make it with `bench boxes vitdet-h --data {name}`"
            raise missing(path, plan.data_root, (boxes_of.download,), or_else=own)
        else:
            detections = boxes.jittered_detections(instances, list(images))
    problem = "" if detections is None else detections.misplaced_mask(instances.sizes)
    return DataSet(instances, images, detections, problem)


def _load(subject: Subject, settings: Settings) -> tuple[Answerer, dict[str, Any]]:
    """Return what answers prompts, and its identity."""
    if not subject.has_weights:
        return ANSWERERS[subject.model](), {"name": subject.model}
    model = zoo.load(subject.model, checkpoint=subject.checkpoint, device=settings.device, trusted=settings.trusted)
    identity = {
        "name": model.name,
        "checkpoint_sha256": model.checkpoint_sha256,
        "custom": model.custom,
        "device": model.device.type,
    }
    return ModelAnswerer(model, settings.axes), identity


def _run(work: Work, settings: Settings) -> CellRun | Refused:
    """Run a cell, or say why it has no answer."""
    try:
        run = run_cell(work, settings.store, provenance=settings.provenance, progress=settings.progress)
    except UnsupportedPrompt as refusal:
        return Refused("not supported", str(refusal))
    except MissingData as absent:
        return Refused("data missing", str(absent))
    if run.resumed:
        images = f"{run.resumed:,} of {len(work.images):,} images"
        settings.say(f"{work.answerer.name} on {work.instances.name}: {images} from run {run.fingerprint}")
    return run


def _cells(
    table: str,
    columns: Sequence[Column],
    plan: Plan,
    runs: Mapping[tuple[str, str], CellRun | Refused],
    scores: Mapping[tuple[str, str], Scores],
    absent: Mapping[str, str],
) -> list[Cell]:
    cells = []
    for row in plan.rows:
        for column in columns:
            name, key = column.key.split("_", 1)
            blank = Cell(row.label, column.key, "no public weights", paper_value(table, row.label, column.key))
            if row.label in plan.unmeasured:
                status, why = plan.unmeasured[row.label]
                cells.append(replace(blank, status=status, why=why))
            elif name in absent:
                cells.append(replace(blank, status="data missing", why=absent[name]))
            elif (row.label, name) not in scores:
                refused = runs[row.label, name]
                assert isinstance(refused, Refused)
                cells.append(replace(blank, status=refused.status, why=refused.why))
            elif key in scores[row.label, name].refused:
                cells.append(replace(blank, status="not supported", why=scores[row.label, name].refused[key]))
            else:
                cells.append(measured(blank, scores[row.label, name].intervals.get(key)))
    return cells


def measured(cell: Cell, interval: Interval | None) -> Cell:
    """Return a cell with its number, or without where nothing was there to take the mean of."""
    if interval is None or math.isnan(interval.value):
        return replace(cell, status="data missing", why="no such object in the images that were asked")
    low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
    return replace(cell, status="measured", measured=interval.value, low=low, high=high, n=interval.n)


def _comparisons(
    table: str, columns: Sequence[Column], plan: Plan, scores: Mapping[tuple[str, str], Scores]
) -> list[Comparison]:
    protocol, labels = PROTOCOLS[table], {row.label for row in plan.rows}
    found = []
    for first, second in [pair for pair in COMPARED if set(pair) <= labels]:
        differences = {
            name: protocol.compare(scores[first, name], scores[second, name])
            for name in protocol.DATA_SETS
            if (first, name) in scores and (second, name) in scores
        }
        for column in columns:
            name, key = column.key.split("_", 1)
            paper = paper_difference(table, first, second, column.key)
            ours = compared(first, second, column.key, paper, differences.get(name, {}).get(key))
            apart = column.apart and ours.measured is not None
            found.append(replace(ours, verdict="other protocol") if apart else ours)
    return found


def _extent(data: Mapping[str, DataSet]) -> str:
    """Say how much of each data set was asked."""
    return ", ".join(
        f"{name.upper()}: {len(d.images):,}"
        + ("" if len(d.images) == len(d.instances.images) else f" of {len(d.instances.images):,}")
        + (" images, the published set" if d.published else " images")
        for name, d in data.items()
    )


def _footnotes(
    protocol: ModuleType,
    columns: Sequence[Column],
    plan: Plan,
    settings: Settings,
    data: Mapping[str, DataSet],
    runs: Mapping[tuple[str, str], CellRun | Refused],
) -> list[str]:
    """Say what was asked, what was left out, and what the numbers rest on."""
    notes = []
    if settings.limit is not None:
        notes.append(f"limited run: the first {settings.limit:,} images of each data set")
    if not settings.axes.exact:
        notes.append(f"{settings.axes.precision}: for exploration, not to be compared with a paper")
    if len(columns) < len(protocol.COLUMNS):
        notes.append(f"{settings.preset} has these columns alone: its evaluator measures no others of this table")
    for apart in dict.fromkeys(column.apart for column in columns if column.apart):
        which = ", ".join(f"{column.group} {column.label}" for column in columns if column.apart == apart)
        notes.append(f"{which}: not the paper's quantity, so not compared with its numbers: {apart}")
    for name, data_set in data.items():
        run = next((runs[s.row, name] for s in plan.subjects if isinstance(runs[s.row, name], CellRun)), None)
        if isinstance(run, CellRun):
            notes += protocol.footnotes(run, data_set.instances, settings.axes)
            notes += [f"{name.upper()}: left out {why}" for why in run.skipped.values()]
        if data_set.detections is not None:
            notes += _left_out(protocol, data_set, settings.axes)
            notes.append(f"{name.upper()}: boxes are {data_set.detections.name}")
        notes += [f"{name.upper()}: {problem}" for problem in data_set.instances.problems]
        if data_set.detections is not None:
            notes += [f"{name.upper()}: {odd}" for odd in data_set.detections.strangers(data_set.instances)]
    return notes


def _left_out(protocol: ModuleType, data_set: DataSet, axes: Axes) -> list[str]:
    """Say how many detections were not asked, because their images have too many."""
    assert data_set.detections is not None
    most = protocol.most_detections(data_set.instances.name, axes)
    counts = data_set.detections.counts([info.id for info in data_set.images])
    lost = int(sum(max(0, count - most) for count in counts))
    return [f"{data_set.instances.name.upper()}: {lost:,} further detections were not asked"] if lost else []
