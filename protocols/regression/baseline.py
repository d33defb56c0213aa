"""A run of a user's own as a baseline: its model is asked the same again, and both are compared."""

from __future__ import annotations

from dataclasses import fields, replace
from types import ModuleType
from typing import Any

from bench.store.stored import StoredRun, find_run
from models.errors import BenchError
from protocols import tables
from protocols.axes import PAPER, Axes
from protocols.data_set import DataSet
from protocols.regression.snapshots import Snapshot, cells_of_scores
from protocols.regression.taking import kept_of, made_with
from protocols.scores import CellRun
from protocols.settings import Scale, Settings
from protocols.shards import SKIPPED
from protocols.table import ask_tables, prepare


def take_baseline(name: str, settings: Settings) -> tuple[Snapshot, Snapshot]:
    """Return what a stored run gave, and what its model gives now about the same images.

    What is asked now goes into the same store: after a kill it goes on, and if nothing at all has changed since, it is
    the run itself.

    Args:
        name: of the run, see `bench.store.stored.find_run`.
        settings: with the store; scale, models, axes, device and engine are those of the run.

    Raises:
        BenchError: if there is no such run, it is not whole, was made with the fast engine or half precision, or its
            model, data or images are not here as they were.
    """
    run = find_run(name, settings.store)
    table, records = _table(run), run.records()
    of_run, data = _about_the_same(table, run, _settings(run, settings))
    of_run.say(f"asking {run.identity['model']['name']} again about {len(data.asked.images):,} images of {data.label}")
    (asked,) = ask_tables([table], of_run)
    found = next(iter(asked.question.runs[data.name].values()))
    if not isinstance(found, CellRun):
        raise BenchError(f"run {run.fingerprint} cannot be made again here: {found.why}")
    if found.fingerprint == run.fingerprint:
        of_run.say("code, weights, data and libraries are those of the baseline: it is compared with itself")
    skipped = records[records[SKIPPED] != ""]
    before = CellRun(
        records=records[records[SKIPPED] == ""].drop(columns=SKIPPED),
        fingerprint=run.fingerprint,
        resumed=0,
        image_ids=tuple(image for image in data.asked.ids if image not in set(skipped["image_id"])),
        skipped=dict(zip(skipped["image_id"].astype(int), skipped[SKIPPED], strict=True)),
    )
    row = str(run.identity["model"]["name"])
    expected = _snapshot(table, data, row, before, {"weights": {row: run.identity["model"]["checkpoint_sha256"]}})
    return expected, _snapshot(table, data, row, found, made_with([asked], of_run))


def _snapshot(table: ModuleType, data: DataSet, row: str, run: CellRun, facts: dict[str, Any]) -> Snapshot:
    scores = table.score(run, data)
    records = kept_of(table, data.name, row, run)
    return Snapshot(cells_of_scores(table, row, scores), {table.NAME: records} if len(records) else {}, facts)


def _table(run: StoredRun) -> ModuleType:
    table = tables.find(str(run.identity.get("protocol", "")))
    if run.identity.get("version") != table.VERSION:
        raise BenchError(
            f"run {run.fingerprint} holds records of version {run.identity.get('version')} of {table.NAME}, this is "
            f"version {table.VERSION}: they cannot be compared, make the baseline again"
        )
    return table


def _settings(run: StoredRun, settings: Settings) -> Settings:
    """Return the settings under which a run is made again."""
    model, named = run.identity["model"], run.identity.get("axes", {})
    engine = model.get("engine", "exact")
    known = {field.name for field in fields(Axes)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in named.items() if key in known
    }
    axes = replace(PAPER, **values)
    if engine == "fast" or not axes.exact:
        raise BenchError(f"run {run.fingerprint} is of the fast engine or of half precision, which is not gated")
    if model.get("custom"):
        raise BenchError(
            f"run {run.fingerprint} is of a checkpoint that --checkpoint named, and a run does not say where it is: "
            "compare runs of models that have a name of their own"
        )
    return replace(
        settings, models=(model["name"],), axes=axes, named=tuple(values), device=model["device"], engine=engine
    )


def _about_the_same(table: ModuleType, run: StoredRun, settings: Settings) -> tuple[Settings, DataSet]:
    """Return the settings, with scale and limit, under which the images of a run are asked about, and the data.

    Raises:
        BenchError: if they are not here as they were.
    """
    name, count = run.identity["data"]["name"], run.identity["images"]["count"]
    scales: tuple[Scale, ...] = ("auto", "micro", "paper")
    for scale in scales:
        for limit in (None, count):
            some = replace(settings, scale=scale, limit=limit)
            try:
                data = prepare(table, replace(some, say=lambda line: None)).question.data.get(name)
            except BenchError:  # such data are not here; another scale may have them
                continue
            if data is not None and data.asked.identity() == run.identity["images"] and dict(data.truth) == _truth(run):
                return some, data
    raise BenchError(
        f"run {run.fingerprint} is about {count:,} images of {name} that are not here as they were: a baseline needs "
        "the images and annotations that it was made from"
    )


def _truth(run: StoredRun) -> dict[str, Any]:
    return {key: value for key, value in run.identity["data"].items() if key != "name"}
