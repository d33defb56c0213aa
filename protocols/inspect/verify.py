"""Verify a stored run: ask its question again, as its identity says, and compare a sample of the records.

Model, data and axes are found from what the run's identity says. What cannot be known from it (weights or annotations
of the user's own) has to be named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple

from bench.store.stored import StoredRun, about
from models import specs
from models.engines.names import ENGINES
from models.errors import BenchError, unknown_name
from protocols import tables
from protocols.axes import PAPER, Axes, means_something
from protocols.chosen import NAMES, for_table, read_axes, shown
from protocols.data_set import DataSet
from protocols.defaults import of
from protocols.inspect.changes import Change, changes, circumstances
from protocols.inspect.recheck import Recheck, Sample, recheck
from protocols.plan import Plan, Subject, make_plan
from protocols.registry import registry_of
from protocols.run import job_of, loaded
from protocols.settings import Scale, Settings
from protocols.shards import Job


@dataclass(frozen=True, slots=True)
class Verification:
    """What re-executing a part of a run gave, and what changed since it was made."""

    run: str
    """Its fingerprint."""
    what: tuple[str, str, str]
    """Its table, model and data set."""
    check: Recheck
    changed: tuple[Change, ...]
    """What of all that decides its records is not as it was."""
    circumstances: tuple[Change, ...]
    """What else is not as it was, and may move a float's last digits."""


class _Asked(NamedTuple):
    """A run's question as it can be asked today."""

    subject: Subject
    data: DataSet
    settings: Settings


def verify(run: StoredRun, sample: Sample, settings: Settings, given: Mapping[str, Any] | None = None) -> Verification:
    """Re-execute a sample of a finished run's images with today's code, model and data.

    Args:
        run: as it lies on disk.
        sample: which of its images.
        settings: store, data and weights of today; model, limit, axes, device and engine are the run's own. A model
            named PREFIX:REST has to be among its models: a file must not decide alone which code runs.
        given: what is to be otherwise than the run has it: axes by name, "device" and "engine".

    Raises:
        BenchError: if it cannot be verified: its table, model, data or shards are not there, or it is about images
            that today's data do not hold.
    """
    given = given or {}
    table = _table(run)
    asked = _asked(run, table, _settings(run, table, settings, given))
    with loaded(table, asked.subject, asked.settings) as (model, _):
        job = job_of(model, table, asked.data, asked.settings)
        check = recheck(job, run, sample, settings.progress)
    now = {**job.whole_identity(), "code": _code(run, table, asked, job)}
    return Verification(
        run=run.fingerprint,
        what=about(run.identity),
        check=check,
        changed=tuple(changes(run.identity, now, run.sessions, settings.provenance, check.replaced)),
        circumstances=tuple(circumstances(run.sessions, settings.provenance)),
    )


def _code(run: StoredRun, table: ModuleType, asked: _Asked, job: Job[Any]) -> object:
    """Return today's digest of the code on the run's own engine, since it covers the code of the engine too."""
    engine = run.identity["model"].get("engine", "exact")
    if engine == asked.settings.engine or engine not in ENGINES:
        return job.identity["code"]
    settings = replace(asked.settings, engine=engine)
    with loaded(table, asked.subject, settings) as (model, _):
        return job_of(model, table, asked.data, settings).identity["code"]


def _table(run: StoredRun) -> ModuleType:
    name = about(run.identity)[0]
    if name not in tables.names():
        raise BenchError(
            f"run {run.folder} is of table '{name}', which is not here: install the package that adds it, `bench list` "
            "shows those that are"
        )
    table = tables.find(name)
    if hasattr(table, "make"):
        raise BenchError(f"run {run.folder} is of {name}, which asks no model: there is nothing to re-execute")
    return table


def _part(run: StoredRun, name: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return a part of a run's identity that has some fields of some types.

    Raises:
        BenchError: if it is otherwise.
    """
    part = run.identity.get(name)
    if not isinstance(part, dict) or any(type(part.get(key)) is not kind for key, kind in kinds.items()):
        raise BenchError(f"run {run.folder} does not say which {name} it is about: no `bench run` wrote it")
    return part


def _settings(run: StoredRun, table: ModuleType, settings: Settings, given: Mapping[str, Any]) -> Settings:
    """Return the settings under which a run's question is asked again."""
    model = _part(run, "model", {"name": str, "device": str})
    images = _part(run, "images", {"count": int})
    if specs.is_spec(model["name"]) and model["name"] not in settings.models:
        raise BenchError(
            f"run {run.fingerprint} was made by '{model['name']}', whose loading may run code that is no part of this "
            f"project: if you know it, confirm with --model {model['name']}"
        )
    engine = given.get("engine", model.get("engine", "exact"))
    if engine not in ENGINES:
        raise unknown_name("engine", str(engine), ENGINES)
    if model.get("custom") is True and model["name"] not in settings.checkpoints:
        raise BenchError(
            f"run {run.fingerprint} was made with weights of the user's own (sha256 {model.get('checkpoint_sha256')}): "
            f"name their file, --checkpoint {model['name']}=PATH"
        )
    if images["count"] < 1:
        raise BenchError(f"run {run.folder} is about no image: there is nothing to re-execute")
    axes, named = _axes(run, table, {name: value for name, value in given.items() if name in NAMES})
    return replace(
        settings,
        models=(model["name"],),
        limit=images["count"],
        device=given.get("device", model["device"]),
        engine=engine,
        axes=axes,
        named=named,
        preset="paper",
    )


def _axes(run: StoredRun, table: ModuleType, given: Mapping[str, Any]) -> tuple[Axes, tuple[str, ...]]:
    """Return the axes of a run, those it does not name as the table usually has them, and the names of those it does.

    An axis that no longer exists is passed over; it comes out as a change.
    """
    stored = run.identity.get("axes", {})
    if not isinstance(stored, dict):
        raise BenchError(f"run {run.folder} has axes that are no object: no `bench run` wrote it")
    read = read_axes([f"{name}={_as_typed(value)}" for name, value in stored.items() if name in NAMES])
    chosen = {**of(table, "USUAL"), **read, **given}
    axes = replace(PAPER, **chosen)
    return axes, tuple(name for name in {**read, **given} if means_something(axes, name))


def _as_typed(value: object) -> str:
    """Return the value of an axis as a command takes it, floats with all their digits."""
    return repr(value) if isinstance(value, float) else shown(tuple(value) if isinstance(value, list) else value)


def _asked(run: StoredRun, table: ModuleType, settings: Settings) -> _Asked:
    """Find the model and the data of a run: of several scales' data those that the run is about.

    Raises:
        BenchError: if the model is not installed, or there are no data for it.
    """
    name = settings.models[0]
    registry = registry_of(table)
    if name not in {card.name for card in registry.cards()} and not specs.is_spec(name):
        raise BenchError(
            f"run {run.fingerprint} was made by {table.MODELS} '{name}', which is not installed here: install the "
            "package that brings it, `bench list` shows those that are"
        )
    wanted = _part(run, "data", {"name": str})
    found: list[_Asked] = []
    why: list[BenchError] = []
    for one in _places(settings, wanted["name"]):
        try:
            plan = make_plan(table, one)
            found.append(
                _Asked(_subject(plan, name), table.open_data(wanted["name"], plan, for_table(table, one)), one)
            )
        except BenchError as error:
            why.append(error)
            continue
        if _fits(found[-1].data, run) == (True, True):
            break
    if not found:
        raise why[0]
    return max(found, key=lambda asked: _fits(asked.data, run))  # of equals the first


def _places(settings: Settings, data: str) -> Iterator[Settings]:
    """Yield settings of each place where a run's data may be, none of which its identity names."""
    scales: list[Scale] = ["micro"] if settings.data_root is None else ["paper", "micro"]
    if settings.data is not None or settings.scale != "auto":
        scales = [settings.scale]
    axes = [settings.axes]
    if data == "lvis" and settings.data is None:
        axes = [replace(settings.axes, lvis_images="all"), replace(settings.axes, lvis_images="val2017")]
    for scale in scales:
        yield from (replace(settings, scale=scale, axes=one) for one in axes)


def _fits(data: DataSet, run: StoredRun) -> tuple[bool, bool]:
    """Return whether data hold the images of a run, and whether they say the same of them."""
    return data.asked.identity() == run.identity.get("images"), {"name": data.name, **data.truth} == run.identity[
        "data"
    ]


def _subject(plan: Plan, name: str) -> Subject:
    """Return a model as a table's plan has it.

    Raises:
        BenchError: if the plan leaves it out.
    """
    for subject in plan.subjects:
        if subject.model == name:
            return subject
    why = next((why for _, why in plan.unmeasured.values() if why), "no row of the table is this model")
    raise BenchError(f"'{name}' cannot be asked: {why}")
