"""How each table and figure is made from what a user asked for: data and models found, records made, result scored."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import paths
from bench.data.ade20k import open_ade20k
from bench.data.dead_leaves import world_root
from bench.data.dead_leaves.ade20k import ade20k_root
from bench.data.dead_leaves.detection import detection_root
from bench.data.dead_leaves.imagenet import imagenet_root
from bench.data.imagenet import open_imagenet
from bench.data.instances import open_coco
from bench.progress import progress
from bench.provenance import provenance
from bench.store import RunStore
from models import classifiers as classifier_cards
from models import detectors as detector_cards
from models.errors import BenchError
from models.mask2former import cards as segmenter_cards
from models.trust import vouched_for
from protocols import axes as choices
from protocols import (
    classification,
    classifiers,
    detection,
    detectors,
    figure7,
    section44,
    segmenters,
    semantic,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    table7,
    tables,
)
from protocols.ablations import Ablation, make_ablation
from protocols.box_files import write_recorded_boxes
from protocols.plan import make_plan
from protocols.results import TableResult
from protocols.row_plan import Cards, Plan, Scale, Task
from protocols.row_plan import make_plan as plan_rows
from protocols.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `bench run` was asked for; its defaults."""

    scale: Scale = "auto"
    models: tuple[str, ...] = ()
    checkpoint: tuple[str, ...] = ()
    trust: tuple[Path, ...] = ()
    preset: str = "paper"
    limit: int | None = None
    seed: int = 0
    repeats: int | None = None
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Maker:
    """A table or figure."""

    title: str
    make: Callable[[Options], TableResult | None]
    """None on all processes but the first."""
    takes: frozenset[str] = frozenset()
    """Names of the options that mean something to it."""
    trained_with: str = ""
    """Table whose trainings it is made of, if not its own."""


def make(table: str, maker: Maker, options: Options) -> TableResult | None:
    """Make a table.

    Raises:
        BenchError: for options that mean nothing to it, and from making it.
    """
    for option in fields(Options):
        if option.name not in maker.takes and getattr(options, option.name) != option.default:
            flags = ", ".join(f"--{name}" for name in sorted(maker.takes))
            raise BenchError(f"--{option.name} means nothing to {table}: it takes {flags}")
    if options.limit is not None and options.limit < 1:
        raise BenchError(f"--limit must be at least 1, got {options.limit}")
    return maker.make(options)


def _promptable(table: str, options: Options) -> TableResult | None:
    axes, trusted = replace(choices.preset(options.preset), seed=options.seed), vouched_for(options.trust)
    axes = axes if options.repeats is None else replace(axes, repeats=options.repeats)
    plan = make_plan(
        tables.PAPER_ROWS[table],
        scale=options.scale,
        models=options.models,
        checkpoints=_checkpoints(options.checkpoint),
        data_root=paths.data_root(),
        micro_root=world_root if table == "table4" else detection_root,
    )
    if table == "table5" and plan.scale == "micro":
        plan = replace(plan, world=f"{plan.world}; boxes: {write_recorded_boxes(plan.data_root) or 'see below'}")
    say(f"{table}: {plan.world}")
    settings = tables.Settings(axes=axes, preset=options.preset, trusted=trusted, **_settings(options))
    return tables.make_table(table, plan, settings)


def _classification(options: Options) -> TableResult | None:
    plan = _rows(classifiers.TASK, classifier_cards, options, imagenet_root)
    settings = Settings(**_settings(options))
    return classification.make_table(plan, classifier_cards, open_imagenet(plan.root), settings)


def _detection(options: Options) -> TableResult | None:
    plan = _rows(detectors.TASK, detector_cards, options, detection_root)
    return detection.make_table(plan, detector_cards, open_coco(plan.root), Settings(**_settings(options)))


def _semantic(options: Options) -> TableResult | None:
    plan = _rows(segmenters.TASK, segmenter_cards, options, ade20k_root)
    return semantic.make_table(plan, segmenter_cards, open_ade20k(plan.root), Settings(**_settings(options)))


def _rows(task: Task, cards: Cards, options: Options, micro_root: Callable[[], Path]) -> Plan:
    """Decide which models a table of rows is made from, and say so."""
    plan = plan_rows(
        task,
        cards,
        scale=options.scale,
        models=options.models,
        checkpoints=_checkpoints(options.checkpoint),
        data_root=paths.data_root(),
        micro_root=micro_root,
    )
    say(f"{task.table}: {plan.world}")
    return plan


def _ablation(ablation: Ablation, options: Options) -> TableResult | None:
    if os.environ.get("RANK", "0") != "0":
        return None
    return make_ablation(ablation, scale=options.scale, command=_command(), provenance=provenance())


def _figure7(options: Options) -> TableResult | None:
    if options.scale == "paper":
        raise BenchError("no finetuning at paper scale is recorded for figure7: use --scale micro")
    if os.environ.get("RANK", "0") != "0":
        return None
    return figure7.make_figure(command=_command(), provenance=provenance())


def _settings(options: Options) -> dict[str, Any]:
    return run_settings(options.limit, options.device)


def run_settings(limit: int | None, device: str) -> dict[str, Any]:
    """Return the fields of `Settings` for a command: its store, its progress bar, its provenance.

    Raises:
        BenchError: for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise BenchError(f"--limit must be at least 1, got {limit}")

    def bar(description: str, total: int, done: int) -> Any:
        return progress(description, total=total, unit="images", done=done)

    return {
        "limit": limit,
        "device": device,
        "store": RunStore(),
        "progress": bar,
        "say": say,
        "command": _command(),
        "provenance": provenance(),
    }


def _command() -> str:
    return f"python -m bench {shlex.join(sys.argv[1:])}"


def _checkpoints(entries: tuple[str, ...]) -> dict[str, Path]:
    """Read NAME=PATH entries."""
    found = {}
    for entry in entries:
        name, equals, path = entry.partition("=")
        if not equals or not path:
            raise BenchError(f"--checkpoint takes NAME=PATH, got '{entry}': e.g. efficientsam-ti=my.pt")
        found[name] = Path(path).expanduser()
        if not found[name].is_file():
            raise BenchError(f"there is no checkpoint '{path}' for model '{name}': check the path")
    return found


def say(line: str) -> None:
    """Tell the user something that is no result; the first of several processes does."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)


_ALL = frozenset(option.name for option in fields(Options))
_OF_CLASSIFIERS = frozenset({"scale", "models", "checkpoint", "limit", "device"})


def _of_records(ablation: Ablation, trained_with: str = "") -> Maker:
    return Maker(ablation.title, partial(_ablation, ablation), frozenset({"scale"}), trained_with)


MAKERS: Mapping[str, Maker] = {
    "table1": Maker(table1.TITLE, _classification, _OF_CLASSIFIERS),
    "table2": Maker(table2.TITLE, _detection, _OF_CLASSIFIERS),
    "table3": Maker(table3.TITLE, _semantic, _OF_CLASSIFIERS),
    "table4": Maker(table4.TITLE, partial(_promptable, "table4"), _ALL),
    "table5": Maker(table5.TITLE, partial(_promptable, "table5"), _ALL),
    "table6": _of_records(table6.TABLE),
    "table7": _of_records(table7.TABLE),
    "ablations": _of_records(section44.TABLE, "table6"),
    "figure7": Maker(figure7.TITLE, _figure7, frozenset({"scale"})),
}
"""Everything that `bench run` makes."""
