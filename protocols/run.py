"""Ask models: each is loaded once for all tables that ask it, and its records go into the run store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from bench.data.contents import digest
from models.cards import resolve
from models.engines.float32 import engine, threads
from models.engines.ladder import products, put_on
from models.engines.names import STAND_INS
from models.errors import BenchError
from protocols.adopt import adopt
from protocols.axes import Axes, in_effect
from protocols.data_set import DataSet
from protocols.defaults import of
from protocols.embeddings import embedding_once
from protocols.fingerprint import code_digest
from protocols.plan import Plan, Subject
from protocols.registry import registry_of
from protocols.scores import CellRun, Refused
from protocols.settings import Settings
from protocols.shards import Job, run_shards


@dataclass(frozen=True, slots=True)
class Question:
    """A table, the models that it asks and the data that it asks about; `ask` fills in what they answered."""

    table: ModuleType
    plan: Plan
    data: dict[str, DataSet]
    runs: dict[str, dict[str, CellRun | Refused]] = field(default_factory=dict)
    """By data set and row."""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What tells each row's model from others."""
    engine: dict[str, Any] = field(default_factory=dict)
    """How numbers were computed, where a table asks for the exact engine."""


class _Part(NamedTuple):
    """What one row's model is asked about one data set."""

    question: Question
    subject: Subject
    data: DataSet


def ask(questions: Sequence[Question], settings: Settings) -> None:
    """Ask every model of some tables; what is in the run store is not asked again.

    Where tables ask a model about the same images, each image is embedded once for all of them.

    Raises:
        BenchError: if a model or its data fail; finished shards stay.
    """
    for parts in _by_model(questions):
        question, subject, _ = parts[0]
        with loaded(question.table, subject, settings) as (model, facts):
            for part in parts:
                part.question.models[part.subject.row] = identity_of(model, settings)
                part.question.engine.update(facts)
            for together in _by_images(parts):
                asked = _remembering(model, together, settings)
                runs = run_model(asked, [(part.question.table, part.data) for part in together], settings)
                for part, run in zip(together, runs, strict=True):
                    part.question.runs.setdefault(part.data.name, {})[part.subject.row] = run


@contextmanager
def loaded(table: ModuleType, subject: Subject, settings: Settings) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Load a model to be asked for a table in this block, on its engine and number of threads.

    Yields:
        (model, facts): the facts say how numbers are computed.

    Raises:
        BenchError: if it cannot be loaded.
    """
    matrices = products(settings.engine) if of(table, "EXACT") else engine(exact=False)
    with matrices as facts, threads(subject.card.threads):
        model = registry_of(table).load(
            subject.model, subject.checkpoint, device=settings.device, trusted=settings.trusted
        )
        if settings.engine != "exact" and (why := put_on(model, settings.engine)):
            settings.say(f"--engine {settings.engine} changes nothing of {subject.model}: {why}")
        yield model, facts


def _by_model(questions: Sequence[Question]) -> Iterator[list[_Part]]:
    """Yield what each model is asked, in the order of the tables' rows."""
    found: dict[tuple[Any, ...], list[_Part]] = {}
    for question in questions:
        for subject in question.plan.subjects:
            which = (question.table.CARDS, subject.model, subject.checkpoint)
            found.setdefault(which, []).extend(_Part(question, subject, data) for data in question.data.values())
    yield from found.values()


def _by_images(parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    """Yield parts that are about the same images together."""
    found: dict[str, list[_Part]] = {}
    for part in parts:
        files = digest(map(str, part.data.asked.paths()))
        which = f"{part.data.asked.identity()} {files} {part.question.table.IMAGES_A_SHARD}"
        found.setdefault(which, []).append(part)
    yield from found.values()


def _remembering(model: Any, parts: Sequence[_Part], settings: Settings) -> Any:
    """Return a model that embeds an image once for all parts, and for later runs if the user wants that.

    Only models whose weights have a hash are remembered on disk: of others nobody can tell which they are.
    """
    table = parts[0].question.table
    folder = settings.embeddings if model.checkpoint_sha256 else None
    if len(parts) == 1 and folder is None:
        return model
    code = code_digest({type(model).__module__, *registry_of(table).modules(model.name), *_rung(settings)})
    return embedding_once(model, table.IMAGES_A_SHARD, folder, f"{identity_of(model, settings)} {code}")


def identity_of(model: Any, settings: Settings) -> dict[str, Any]:
    """Return what tells a model from others; of one named PREFIX:REST also what it says itself (`ModelCard.spec`)."""
    return {
        "name": model.name,
        "checkpoint_sha256": model.checkpoint_sha256,
        "custom": model.custom,
        "device": settings.device,
        **getattr(model, "identity", {}),
    } | ({} if settings.engine == "exact" else {"engine": settings.engine})


def _rung(settings: Settings) -> tuple[str, ...]:
    """Return the module of the engine that was asked for, none for the exact one, whose code is the models' own."""
    return (STAND_INS[settings.engine],) if settings.engine in STAND_INS else ()


def run_model(model: Any, asked: Sequence[tuple[ModuleType, DataSet]], settings: Settings) -> list[CellRun | Refused]:
    """Ask one model about one set of images for some tables; what is in the run store is not asked again.

    Args:
        model: as its registry loads it.
        asked: tables and their data, all with the same images.
        settings: store, progress, device.

    Raises:
        BenchError: if the model fails, or no image can be read; finished shards stay.
    """
    jobs = [job_of(model, table, data, settings) for table, data in asked]
    if settings.adopt:
        for job in jobs:
            adopt(job, settings)
    runs = run_shards(jobs, settings.store, provenance=settings.provenance, progress=settings.progress)
    for (_, data), run in zip(asked, runs, strict=True):
        if isinstance(run, Refused):
            continue
        if run.resumed:
            images = f"{run.resumed:,} of {len(data.asked.images):,} images"
            settings.say(f"{model.name} on {data.title or data.name}: {images} from run {run.fingerprint}")
        if not run.image_ids:
            raise BenchError(f"no photo could be read: {next(iter(run.skipped.values()))}")
    return runs


def _deciding(table: ModuleType, axes: Axes) -> dict[str, object]:
    """Return the axes that decide what a table's records are: another value of any other one asks nothing again."""
    names = of(table, "ASKED_WITH")
    return in_effect(axes, [field.name for field in fields(axes)] if names is None else names)


def job_of(model: Any, table: ModuleType, data: DataSet, settings: Settings) -> Job[Any]:
    """Return the run that a model's records of a table about some data are, and what makes them."""
    asking = {
        table.ASK.partition(":")[0],
        type(getattr(model, "segmenter", model)).__module__,
        *registry_of(table).modules(model.name),
        *_rung(settings),
    }
    identity = {
        "protocol": table.NAME,
        "version": table.VERSION,
        "model": identity_of(model, settings),
        "data": {"name": data.name, **data.truth},
        "code": code_digest(asking),
    }
    if data.axes is not None:
        identity["axes"] = _deciding(table, data.axes)
    return Job(
        identity=identity,
        asked=data.asked,
        make=partial(resolve(table.ASK), model, data),
        at_once=table.IMAGES_A_SHARD,
        description=f"{model.name} on {data.title or data.name}",
        times=of(table, "TIMES"),
    )
