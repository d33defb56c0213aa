"""Which data and which models a table is made from: the only place that knows of two scales.

`auto` takes the published data where BENCH_DATA has them and the full-size models whose checkpoints are on disk,
else the dead leaves and the micro models, and always says what it took and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models import zoo
from models.errors import BenchError, unknown_name
from protocols.predictors import FRAMES
from protocols.results import Row, Status
from protocols.row_plan import Scale
from protocols.rows import PaperRow
from protocols.table5_prompts import DETECTOR

MICRO_WORLD = "dead leaves at 256 px"
FRAME_NOTES = {
    "floor": "the box filled, or a disc around each click: what no model should fall below",
    "ceiling": "the ground truth resized to the models' input and back: what none can pass",
}


WEIGHTLESS = {*FRAMES, DETECTOR}


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that a table measures: a model of the zoo, a frame, or the detector's own masks."""

    row: str
    """Its label in the table."""
    model: str
    """Name in the zoo, of a frame, or DETECTOR."""
    checkpoint: Path | None = None
    """The user's own weights."""

    @property
    def has_weights(self) -> bool:
        """Whether it is a model of the zoo: neither a frame nor the detector itself."""
        return self.model not in WEIGHTLESS


@dataclass(frozen=True, slots=True)
class Plan:
    """Decisions made before anything runs."""

    scale: Literal["paper", "micro", "mixed"]
    data_root: Path
    world: str
    """One line on data and models, and why these."""
    rows: tuple[Row, ...]
    subjects: tuple[Subject, ...]
    unmeasured: Mapping[str, tuple[Status, str]]
    """(status, why) of each row that has no subject."""


def make_plan(
    paper_rows: Sequence[PaperRow],
    *,
    scale: Scale,
    models: Sequence[str],
    checkpoints: Mapping[str, Path],
    data_root: Path | None,
    micro_root: Callable[[], Path],
) -> Plan:
    """Choose data and models for a table.

    Args:
        paper_rows: the table's rows.
        scale: what the user asked for.
        models: names in the zoo, row labels or frames the user asked for; empty for all.
        checkpoints: the user's own weights by model name.
        data_root: BENCH_DATA.
        micro_root: makes the dead leaves on first use and returns their folder.

    Raises:
        BenchError: for unknown names, or paper scale without BENCH_DATA.
    """
    for name in checkpoints:
        zoo.card(name)
    full_size, models_why = _full_size(scale, paper_rows, models, checkpoints)
    wanted = [_resolve(name, paper_rows, full_size=full_size, scale=scale) for name in models]
    if models and (unasked := [name for name in checkpoints if name not in wanted]):
        raise BenchError(
            f"--checkpoint is for '{unasked[0]}', which --models does not name: add it there, or leave one of them out"
        )
    rows: list[Row] = []
    subjects: list[Subject] = []
    unmeasured: dict[str, tuple[Status, str]] = {}
    for paper_row in paper_rows:
        model = paper_row.full_size if full_size else paper_row.micro
        missing = _missing(paper_row, model, wanted, checkpoints, full_size=full_size)
        if model is None or missing:
            rows.append(Row(paper_row.label, None, note=paper_row.note))
            unmeasured[paper_row.label] = missing or ("no public weights", "")
        else:
            subjects.append(Subject(paper_row.label, model, checkpoints.get(model)))
            rows.append(Row(paper_row.label, model, note=_note(model, checkpoints.get(model), paper_row.note)))
    others = dict.fromkeys([*wanted, *checkpoints])
    of_paper = {row.full_size if full_size else row.micro for row in paper_rows}
    for extra in [other for other in others if other not in WEIGHTLESS and other not in of_paper]:
        subjects.append(Subject(extra, extra, checkpoints.get(extra)))
        rows.append(Row(extra, extra, "extra", _note(extra, checkpoints.get(extra))))
    for frame in [frame for frame in FRAMES if not wanted or frame in wanted]:
        subjects.append(Subject(frame, frame))
        rows.append(Row(frame, frame, "frame", FRAME_NOTES[frame]))
    data_scale, root, data_why = _data(scale, data_root, micro_root)
    scales = {data_scale, *(zoo.card(s.model).scale for s in subjects if s.has_weights)}
    return Plan(
        scale=data_scale if len(scales) == 1 else "mixed",
        data_root=root,
        world=f"{data_why}; {models_why}",
        rows=tuple(rows),
        subjects=tuple(subjects),
        unmeasured=unmeasured,
    )


def _data(
    scale: Scale, data_root: Path | None, micro_root: Callable[[], Path]
) -> tuple[Literal["paper", "micro"], Path, str]:
    """Return the data's scale, their root, and why these."""
    if scale == "paper" and data_root is None:
        raise BenchError("--scale paper needs BENCH_DATA, the folder of coco/ and lvis/: set it, or use --scale micro")
    if scale != "micro" and data_root is not None:
        if not data_root.is_dir():
            raise BenchError(f"BENCH_DATA is '{data_root}', which is no folder: correct it, or use --scale micro")
        return "paper", data_root, "data of BENCH_DATA"
    why = "as asked" if scale == "micro" else "since BENCH_DATA is not set"
    return "micro", micro_root(), f"data: {MICRO_WORLD}, {why}"


def _full_size(
    scale: Scale, paper_rows: Sequence[PaperRow], models: Sequence[str], checkpoints: Mapping[str, Path]
) -> tuple[bool, str]:
    """Return whether rows stand for full-size models, and why."""
    if scale != "auto":
        return scale == "paper", f"{'full-size' if scale == 'paper' else 'micro'} models, as asked"
    full = {row.full_size for row in paper_rows if row.full_size} - WEIGHTLESS
    named = [name for name in [*models, *checkpoints] if name in full]
    if named:
        return True, f"full-size models, since {named[0]} was named"
    if any(zoo.available(name)[0] for name in full):
        return True, "full-size models, since published checkpoints are on disk"
    return False, "micro models, since no published checkpoint is on disk"


def _resolve(name: str, paper_rows: Sequence[PaperRow], *, full_size: bool, scale: Scale) -> str:
    """Return the name in the zoo that a user's name stands for: itself, or the model of that row of the table.

    Raises:
        BenchError: if it is neither.
    """
    by_row = {row.label.lower(): row.full_size if full_size else row.micro for row in paper_rows}
    of_row = by_row.get(name.lower())
    if name in WEIGHTLESS or (name in zoo.names() and not (scale == "micro" and of_row)):
        return name
    if of_row is None:
        raise unknown_name("model", name, [*zoo.names(), *FRAMES, *(row.label for row in paper_rows)])
    return of_row


def _missing(
    row: PaperRow,
    name: str | None,
    wanted: Sequence[str],
    checkpoints: Mapping[str, Path],
    *,
    full_size: bool,
) -> tuple[Status, str] | None:
    """Return why a row is not measured as (status, sentence), None if it is."""
    if name is None:
        why = row.why_missing or ("no micro stand-in" if not full_size else "")
        return ("copied", row.note) if row.copied else ("no public weights", why)
    if wanted and name not in wanted and name not in checkpoints:
        return "not requested", ""
    if name in checkpoints or name in WEIGHTLESS:
        return None
    found, why = zoo.available(name)
    return None if found else ("weights missing", why)


def _note(name: str, checkpoint: Path | None, *more: str) -> str:
    """Return what a reader must know about a measured row."""
    if name in WEIGHTLESS:
        return "; ".join(("the detector's own masks, from its box file", *filter(None, more)))
    card = zoo.card(name)
    custom = f"custom checkpoint {checkpoint.name}" if checkpoint else ""
    return "; ".join(part for part in (custom, card.note, *more) if part)
