"""Measure one model under many protocols: each image is embedded once, and only what a protocol changes is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType

from bench.data.contents import Contents
from bench.progress import progress as numbered_progress
from models.errors import BenchError
from protocols.axes import Axes
from protocols.chosen import called
from protocols.comparisons import Sampled
from protocols.data_set import DataSet
from protocols.inspect.explain import asked_as
from protocols.plan import Plan, Subject, make_plan
from protocols.run import Question, ask
from protocols.scores import CellRun
from protocols.settings import Settings
from protocols.table import data_set_of, prepare

ANY = "explain"
"""Preset of the settings that are handed on: axes are given one by one, and no table puts its usual ones in their
place."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A protocol's records."""

    run: CellRun
    data: DataSet


def subject_of(table: ModuleType, settings: Settings) -> tuple[Plan, Subject]:
    """Return the plan and the one model that settings name.

    Raises:
        BenchError: if it cannot be measured here.
    """
    plan = make_plan(table, settings)
    for subject in plan.subjects:
        return plan, subject
    model = settings.models[0]
    status, why = next((found for found in plan.unmeasured.values() if found[0] != "not requested"), ("", ""))
    raise BenchError(f"{model} cannot be measured: {': '.join(filter(None, (status, why))) or 'see `bench list`'}")


def measure(table: ModuleType, column: str, protocols: Sequence[Axes], settings: Settings) -> list[Sampled]:
    """Return the number of a column under each protocol, with draws over the same images for all.

    Args:
        table: of the column.
        column: by its key.
        protocols: what is measured.
        settings: with one model.

    Raises:
        BenchError: if the model cannot be asked as one of them wants, or its data are not here.
    """
    answered = _answers(table, column, protocols, settings)
    images = sorted({image for one in answered for image in one.run.image_ids})
    found = []
    with numbered_progress(f"scoring {table.NAME}", total=len(protocols), unit="protocols") as advance:
        for one in answered:
            scores = table.score(one.run, one.data)
            sampled = table.resampled(scores, images) if column not in scores.refused else {}
            if column not in sampled:
                why = scores.refused.get(column, "no such object in the images that were asked")
                raise _refused(table, one.data.chosen, settings, why)
            found.append(sampled[column])
            advance(1)
    return found


def _answers(table: ModuleType, column: str, protocols: Sequence[Axes], settings: Settings) -> list[Answered]:
    """Return the records of each protocol, in their order; those of protocols that ask alike are made once."""
    name = data_set_of(table, column)
    found: dict[tuple[object, ...], CellRun] = {}
    opened: dict[str, DataSet] = {}
    keys = [(one.lvis_images, *asked_as(table, one)) for one in protocols]
    todo = dict(zip(keys, protocols, strict=True))
    # A segmenter that remembers embeddings knows images by their pixels alone: one precision at a time.
    for group in sorted({(one.precision, one.lvis_images) for one in protocols}):
        of_group = {key: one for key, one in todo.items() if (one.precision, one.lvis_images) == group}
        plan, data = _open(table, name, next(iter(of_group.values())), settings, quiet=bool(opened))
        opened[group[1]] = data
        Contents().hashes(data.asked.paths(), settings.progress)
        questions = {key: Question(table, plan, {name: replace(data, axes=axes)}) for key, axes in of_group.items()}
        with _one_bar(settings, len(questions), len(data.asked.images)) as quiet:
            ask(list(questions.values()), quiet)
        for key, question in questions.items():
            (run,) = question.runs[name].values()
            if not isinstance(run, CellRun):
                raise _refused(table, of_group[key], settings, run.why)
            found[key] = run
    return [
        Answered(found[key], replace(opened[axes.lvis_images], axes=axes))
        for key, axes in zip(keys, protocols, strict=True)
    ]


def _open(table: ModuleType, name: str, axes: Axes, settings: Settings, *, quiet: bool) -> tuple[Plan, DataSet]:
    say = _say_nothing if quiet else settings.say
    prepared = prepare(table, replace(settings, axes=axes, preset=ANY, named=(), say=say))
    if name not in prepared.question.data:
        raise BenchError(prepared.absent[name])
    return prepared.question.plan, prepared.question.data[name]


def _refused(table: ModuleType, axes: Axes, settings: Settings, why: str) -> BenchError:
    return BenchError(
        f"{settings.models[0]} has no number under '{called(table, axes)}', which lies between the two protocols: {why}"
    )


def _say_nothing(line: str) -> None:
    """Say nothing: what runs say of themselves, one bar says of all."""


@contextmanager
def _one_bar(settings: Settings, runs: int, images: int) -> Iterator[Settings]:
    """Yield settings in which all runs share one progress bar."""
    total, seen = runs * images, 0
    with settings.progress(f"{settings.models[0]} under {runs} protocols", total, 0) as advance:

        def count(images: int) -> None:
            nonlocal seen
            seen += images
            advance(images)

        @contextmanager
        def part(description: str, of: int, done: int) -> Iterator[Callable[[int], None]]:
            count(done)
            yield count

        yield replace(settings, progress=part, say=_say_nothing)
        advance(total - seen)  # runs that were finished before
