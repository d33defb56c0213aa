"""Make tables from their modules: open the data, ask every model, score, compare, fill the cells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import ModuleType

from bench.data.own import OwnData
from bench.processes import this_process
from models.engines.names import ENGINES
from models.errors import BenchError, MissingData
from protocols import published
from protocols.adopt import checked, note
from protocols.axes import NOT_PUBLISHED, departures
from protocols.chosen import for_table, shown
from protocols.data_set import DataSet
from protocols.defaults import of
from protocols.measured import Measured
from protocols.own_data import of_own_data
from protocols.paper import paper_value
from protocols.plan import Plan, make_plan
from protocols.results import Cell, Column, Comparison, TableResult
from protocols.run import Question, ask
from protocols.saved_predictions import with_saved
from protocols.scores import CellRun, Refused, Scores
from protocols.settings import Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A table whose data are open."""

    question: Question
    columns: tuple[Column, ...]
    absent: Mapping[str, str]
    """Data sets that are not there, and why."""
    settings: Settings
    """Those of this table."""


def make_tables(tables: Sequence[ModuleType], settings: Settings) -> list[TableResult] | None:
    """Make some tables that ask models, each model once for all of them; None on all but the first process.

    Raises:
        BenchError: if there are no data for a table, or a model or its data fail; finished shards stay.
    """
    prepared = ask_tables(tables, settings)
    if not this_process().is_first:
        return None
    return [assemble(one, one.settings) for one in prepared]


def ask_tables(tables: Sequence[ModuleType], settings: Settings) -> list[Prepared]:
    """Ask the models of some tables, each model once for all of them.

    Raises:
        BenchError: as `make_tables`.
    """
    prepared = [prepare(table, settings) for table in tables]
    ask([one.question for one in prepared], settings)
    return prepared


def prepare(table: ModuleType, settings: Settings) -> Prepared:
    """Choose data and models of a table, say which, and open the data.

    Raises:
        BenchError: if no data set is there, or axes contradict each other.
    """
    of_table = for_table(table, settings)
    columns = asked_columns(table, replace(of_table, preset=settings.preset))
    if settings.data is not None:
        columns = _own_columns(table, columns, settings.data, settings.preset)
    plan = make_plan(table, settings)
    data: dict[str, DataSet] = {}
    absent: dict[str, str] = {}
    for name in dict.fromkeys(data_set_of(table, column.key) for column in columns):
        try:
            data[name] = table.open_data(name, plan, of_table)
        except MissingData as error:
            absent[name] = str(error)
    if not data:
        raise BenchError(next(iter(absent.values())))
    words = dict.fromkeys(one.words for one in data.values() if one.words)
    plan = replace(plan, world="; ".join((plan.world, *words)))
    settings.say(f"{table.NAME}: {plan.world}")
    return Prepared(Question(table, plan, data), columns, absent, of_table)


def data_set_of(table: ModuleType, column: str) -> str:
    """Return the data set that a column is about: the one that its key begins with, or the only one."""
    sets: tuple[str, ...] = table.DATA_SETS
    return sets[0] if len(sets) == 1 else next(name for name in sets if column.startswith(f"{name}_"))


def asked_columns(table: ModuleType, settings: Settings) -> tuple[Column, ...]:
    """Return the columns that the preset's evaluator has, each with what keeps it apart from the paper's.

    Raises:
        BenchError: if it has none of this table.
    """
    wanted, has = settings.axes.columns, of(table, "has_column")
    columns = [column for column in table.COLUMNS if wanted is None or column.key in wanted]
    columns = [column for column in columns if has(column.key, settings.axes)]
    if not columns and "columns" in settings.named:
        known = ", ".join(column.key for column in table.COLUMNS)
        raise BenchError(f"axis columns={shown(wanted)} names no column of {table.NAME}: it has {known}")
    if not columns:
        raise BenchError(
            f"preset '{settings.preset}' has no column of {table.NAME}, its evaluator measures "
            f"{', '.join(wanted or ())}: choose another table or preset"
        )
    return tuple(
        replace(column, apart=departures(settings.axes, of(table, "MATTERS").get(column.key, ()))) for column in columns
    )


def _own_columns(table: ModuleType, columns: Sequence[Column], own: OwnData, preset: str) -> tuple[Column, ...]:
    """Return the columns about a format, as those of the user's own data, which no paper's column is like.

    Raises:
        BenchError: if the preset's evaluator has none.
    """
    found = [column for column in columns if data_set_of(table, column.key) == own.form]
    if not found:
        raise BenchError(
            f"preset '{preset}' has no column of {table.NAME} about data in {own.form.upper()}'s format: choose "
            "another preset"
        )
    return tuple(replace(column, group=own.name, apart="") for column in found)


def assemble(prepared: Prepared, settings: Settings) -> TableResult:
    """Score what was asked and fill the table.

    Args:
        prepared: a table whose models have been asked, see `ask_tables`.
        settings: those of this table.
    """
    question, columns = prepared.question, prepared.columns
    table, plan, data = question.table, question.plan, question.data
    found: dict[str, Measured] = {}
    for name, data_set in data.items():
        runs = {row: run for row, run in question.runs.get(name, {}).items() if isinstance(run, CellRun)}
        saved, of_seed = with_saved(question.plan, runs, of(table, "saved")(data_set, settings))
        plan = plan if saved.rows == question.plan.rows else saved
        found[name] = Measured(
            plan=saved,
            data=data_set,
            columns=tuple(column for column in columns if data_set_of(table, column.key) == name),
            runs=of_seed,
            scores={row: {s: table.score(r, data_set) for s, r in sorted(of.items())} for row, of in of_seed.items()},
            settings=settings,
        )
    all_published = all(one.published for one in data.values()) and not prepared.absent
    named = len(data) > 1 or bool(prepared.absent)
    extent = ", ".join(f"{one.label}: {one.extent}" if named else one.extent for name, one in data.items())
    result = TableResult(
        name=table.NAME,
        title=table.TITLE,
        scale=plan.scale,
        world=f"{plan.world} ({extent})",
        comparable=plan.scale == "paper" and all_published and settings.axes.exact and settings.engine != "fast",
        preset=settings.preset if "preset" in table.TAKES else "",
        columns=columns,
        rows=plan.rows,
        cells=tuple(_cells(prepared, plan, found)),
        comparisons=tuple(_comparisons(table, columns, found)),
        footnotes=tuple(dict.fromkeys(_footnotes(table, columns, found, settings))),
        command=settings.command,
        provenance={**settings.provenance, **_facts(question, settings)},
        pairing=of(table, "pairing")(next(iter(found.values()))),
        pictures={name: png for one in found.values() for name, png in of(table, "pictures")(one).items()},
    )
    return result if settings.data is None else of_own_data(result, settings.data.name, settings.models)


def _facts(question: Question, settings: Settings) -> dict[str, object]:
    """Return what the numbers rest on."""
    data = question.data
    cells = {
        f"{row} on {name}" if len(data) > 1 else row: run
        for name, of_row in question.runs.items()
        for row, run in of_row.items()
        if isinstance(run, CellRun)
    }
    adopted = {cell: checked(run.adopted[-1]) for cell, run in cells.items() if run.adopted}
    facts: dict[str, object] = {
        "models": question.models,
        "data": {
            one.title or name: {"sha256": one.sha256, "images": len(one.asked.images)} for name, one in data.items()
        },
        "runs": {cell: run.fingerprint for cell, run in cells.items()},
        **({"adopted": adopted} if adopted else {}),
    }
    if "preset" in question.table.TAKES:
        facts["preset"], facts["axes"] = settings.preset, asdict(settings.axes)
        facts["boxes"] = {name: one.boxes.sha256 for name, one in data.items() if one.boxes is not None}
    return facts | ({"engine": question.engine} if question.engine else {})


def _cells(prepared: Prepared, plan: Plan, found: Mapping[str, Measured]) -> Iterator[Cell]:
    """Yield the cells of all rows: measured, or why not."""
    question = prepared.question
    for row in plan.rows:
        for column in prepared.columns:
            name = data_set_of(question.table, column.key)
            blank = Cell(row.label, column.key, "measured", paper_value(question.table.NAME, row.label, column.key))
            if name in found and row.label in found[name].scores:
                yield _measured(blank, found[name].scores[row.label][0])
            elif row.label in question.plan.unmeasured:
                status, why = question.plan.unmeasured[row.label]
                yield replace(blank, status=status, why=why)
            elif name in prepared.absent:
                yield replace(blank, status="data missing", why=prepared.absent[name])
            else:
                refused = question.runs[name][row.label]
                assert isinstance(refused, Refused)
                yield replace(blank, status=refused.status, why=refused.why)


def _measured(cell: Cell, scores: Scores) -> Cell:
    """Return a cell with its number, or why it has none."""
    if cell.column in scores.refused:
        return replace(cell, status="not supported", why=scores.refused[cell.column])
    interval = scores.intervals.get(cell.column)
    if interval is None or math.isnan(interval.value):
        return replace(cell, status="data missing", why="no such object in the images that were asked")
    low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
    return replace(cell, measured=interval.value, low=low, high=high, n=interval.n)


def _comparisons(table: ModuleType, columns: Sequence[Column], found: Mapping[str, Measured]) -> list[Comparison]:
    """Return the comparisons of all data sets, pair by pair; what another protocol measured is not judged."""
    apart = {column.key for column in columns if column.apart}
    order = [column.key for column in columns]
    every = [
        replace(one, verdict="other protocol") if one.column in apart and one.measured is not None else one
        for measured in found.values()
        for one in table.comparisons(measured)
    ]
    pairs = list(dict.fromkeys([*table.COMPARED, *((one.first, one.second) for one in every)]))
    return sorted(every, key=lambda one: (pairs.index((one.first, one.second)), order.index(one.column)))


def _footnotes(
    table: ModuleType, columns: Sequence[Column], found: Mapping[str, Measured], settings: Settings
) -> Iterator[str]:
    """Say what was asked, what was left out, and what the numbers rest on."""
    if settings.limit is not None:
        yield f"limited run: {table.LIMITED.format(settings.limit)}"
    if not settings.axes.exact:
        yield f"{settings.axes.precision}: for exploration, not to be compared with a paper"
    if settings.engine != "exact":
        yield f"{settings.engine} engine: {ENGINES[settings.engine]}" + (
            "; for exploration, not to be compared with a paper" if settings.engine == "fast" else ""
        )
    if "preset" in table.TAKES:
        yield from (words for name, words in NOT_PUBLISHED.items() if settings.preset.partition(",")[0] == name)
    chosen = settings.axes.columns and "columns" not in settings.named
    if settings.data is None and chosen and len(columns) < len(table.COLUMNS):
        yield f"{settings.preset} has these columns alone: its evaluator measures no others of this table"
    for apart in dict.fromkeys(column.apart for column in columns if column.apart):
        which = ", ".join(f"{column.group} {column.label}" for column in columns if column.apart == apart)
        yield f"{which}: not the paper's quantity, so not compared with its numbers: {apart}"
    for measured in found.values():
        for row, of_seed in measured.runs.items():
            yield from (note(row, measured.data.label, one) for run in of_seed.values() for one in run.adopted)
        yield from table.footnotes(measured)
        yield from published.notes(table, measured)
