"""Climb the calibration ladder: measure its rungs one after another, as `bench run` measures tables.

At micro scale nobody published numbers. There a rung's reference is measured in the same run, by the published
operations (the reference engine) and by pycocotools: a rehearsal of the ladder.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from models import checkpoints, zoo
from models.errors import BenchError
from protocols import table5, tables
from protocols.axes import Axes
from protocols.data_set import DataSet
from protocols.published import axes_of
from protocols.published.calibration import Reading, Reference, Rung, judged, published_reference
from protocols.scores import CellRun
from protocols.settings import Settings
from protocols.table import ask_tables, data_set_of, make_tables
from protocols.table4 import counted

ReferenceOf = Callable[[Rung, Settings], Reference]


def climb(
    rungs: Sequence[Rung], settings: Settings, *, reference_of: ReferenceOf, go_on: bool = False
) -> Iterator[Reading]:
    """Yield what came of each rung as it is measured.

    Args:
        rungs: The cheapest first.
        settings: Store, device, folder of the data, the user's own checkpoints; what a rung says replaces the rest.
        reference_of: Gives the number that a rung is to meet.
        go_on: Whether rungs after a broken one are measured too.
    """
    broken = ""
    for rung in rungs:
        if broken and not go_on:
            yield Reading(rung, "not tried", why=f"{broken} broke before it")
            continue
        reading = _hashed(rung, settings) if not rung.table else _read(rung, settings, reference_of)
        broken = broken or (rung.name if reading.status == "broken" else "")
        yield reading


def reference(rung: Rung, settings: Settings) -> Reference:
    """Return the number that a rung is to meet: published, or else measured here by the published operations.

    Raises:
        BenchError: as `make_tables`.
    """
    return published_reference(rung) if rung.published else measured_reference(rung, settings)


def _hashed(rung: Rung, settings: Settings) -> Reading:
    """Compare a checkpoint's hash with the published one."""
    card = zoo.card(rung.model)
    path: Path | None = settings.checkpoints.get(rung.model) or checkpoints.checkpoint_path(card)
    if path is None or card.sha256 is None:
        return Reading(rung, "not runnable", why=f"no hash of {rung.model} is published")
    try:
        checkpoints.check(card, path)
    except BenchError as error:
        missing = not path.is_file()
        return Reading(
            rung, "not runnable" if missing else "broken", why=f"needs weights: {error}" if missing else str(error)
        )
    return Reading(rung, "holds")


def _read(rung: Rung, settings: Settings, reference_of: ReferenceOf) -> Reading:
    """Measure a rung beside its reference."""
    if rung.scale == "paper" and settings.data_root is None:
        return Reading(rung, "not runnable", why=f"needs photos: {_photos(rung)}")
    try:
        measured = measure(rung, settings)
        known = reference_of(rung, settings)
    except BenchError as error:
        return Reading(rung, "not runnable", why=f"needs: {error}")
    return judged(rung, known, measured)


def _photos(rung: Rung) -> str:
    """Say how to get the data of a rung."""
    name = data_set_of(tables.find(rung.table), rung.column)
    names = f"{name} {name}-boxes" if rung.table == table5.NAME else name
    return f"`bench data fetch {names} --root FOLDER` gets them, then give --data FOLDER or set BENCH_DATA"


def measure(rung: Rung, settings: Settings) -> float:
    """Return the number of a rung, in percent, as `bench run` measures it.

    Raises:
        BenchError: if its data or weights are not here, or the data are not the published ones.
    """
    made = make_tables([tables.find(rung.table)], settings_of(rung, settings))
    if made is None:
        raise BenchError("the ladder is climbed by one process: start it without torchrun")
    (result,) = made
    row = next((one.label for one in result.rows if one.model == rung.model), None)
    if row is None:
        whys = [cell.why for cell in result.cells if cell.why and _is_of(cell.row, rung)]
        raise BenchError(next(iter(whys), f"{rung.model} is not measured by {rung.table}"))
    cell = result.cell(row, rung.column)
    if cell.measured is None:
        raise BenchError(cell.why or cell.status)
    if rung.scale == "paper" and not result.comparable:
        raise BenchError(f"the whole published data set: this is {result.world}")
    return 100 * cell.measured


def _is_of(row: str, rung: Rung) -> bool:
    """Whether a row of a table is the rung's model, which was not measured."""
    if rung.model not in zoo.names():
        return False
    return row in (rung.model, zoo.card(rung.model).paper_row)


def settings_of(rung: Rung, settings: Settings) -> Settings:
    """Return how a table is made for a rung: one model, one column, the protocol of the number."""
    axes: Axes = replace(axes_of(rung.protocol), columns=(rung.column,))
    preset, _, but = rung.protocol.partition(", but ")
    named = tuple(entry.partition("=")[0] for entry in but.split(", ") if entry)
    own = {name: path for name, path in settings.checkpoints.items() if name == rung.model}
    return replace(
        settings,
        scale=rung.scale,
        models=(rung.model,),
        axes=axes,
        preset=preset,
        named=(*named, "columns"),
        checkpoints=own,
        data=None,
    )


def measured_reference(rung: Rung, settings: Settings) -> Reference:
    """Return what the published operations give: the reference engine, and pycocotools or a plain mean.

    Raises:
        BenchError: as `make_tables`.
    """
    run, data = _asked(rung, replace(settings_of(rung, settings), engine="reference", checkpoints={}))
    if rung.table == table5.NAME:
        return Reference(100 * _official_ap(run, data), "measured here: reference engine, pycocotools")
    records = counted(run.records, data.chosen)
    kind = rung.column.partition("_")[2]
    value = float(records[records["prompt"] == kind]["iou"].mean())
    return Reference(100 * value, "measured here: reference engine, mean over annotations")


def _asked(rung: Rung, settings: Settings) -> tuple[CellRun, DataSet]:
    (prepared,) = ask_tables([tables.find(rung.table)], settings)
    question = prepared.question
    for name, of_row in question.runs.items():
        for run in of_row.values():
            if isinstance(run, CellRun):
                return run, question.data[name]
            raise BenchError(run.why)
    raise BenchError(next((why for _, why in question.plan.unmeasured.values() if why), f"{rung.model} is not here"))


def _official_ap(run: CellRun, data: DataSet) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data.source.annotation_path))
        evaluator = COCOeval(truth, truth.loadRes(table5.to_results(run.records, data.chosen)), "segm")
        evaluator.params.imgIds = sorted(run.image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])
