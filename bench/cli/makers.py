"""How each table and figure is made from what a user asked for: data and models found, records made, result scored."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from bench import paths
from bench.data.ade20k import open_ade20k
from bench.data.dead_leaves import world_root
from bench.data.dead_leaves.ade20k import ade20k_root
from bench.data.dead_leaves.detection import detection_root
from bench.data.dead_leaves.imagenet import imagenet_root
from bench.data.imagenet import NUMBERS, open_imagenet
from bench.data.instances import open_coco
from bench.processes import this_process
from bench.progress import notice, progress
from bench.provenance import provenance
from bench.store import RunStore
from models.errors import BenchError
from models.files.folders import expanded
from models.files.trust import vouched_for
from protocols import axes as choices
from protocols import (
    figure7,
    row_table,
    section44,
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
from protocols.plan import make_plan
from protocols.prompts.box_files import write_recorded_boxes
from protocols.results import TableResult
from protocols.row_plan import Plan, Scale
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


@dataclass(frozen=True, slots=True)
class Photos:
    """Where the photos of a table of rows come from."""

    open: Callable[[Path], Any]
    """Opens them under a root."""
    micro_root: Callable[[], Path]
    """Makes the dead leaves on first use and returns their folder."""


def _rows(table: ModuleType, photos: Photos, options: Options) -> TableResult | None:
    """Choose data and models for a table of rows, say which, and make it."""
    plan = plan_rows(
        table,
        importlib.import_module(table.CARDS),
        scale=options.scale,
        models=options.models,
        checkpoints=_checkpoints(options.checkpoint),
        data_root=paths.data_root(),
        micro_root=photos.micro_root,
    )
    say(f"{table.NAME}: {plan.world}")
    source = photos.open(plan.root)
    if table is table1:
        plan = _labelled(plan, source)
    data = table.data_set(source, options.limit)
    return row_table.make_table(table, plan, data, Settings(**_settings(options)))


def _labelled(plan: Plan, photos: Any) -> Plan:
    """Say where labels come from, if not from the published folders.

    Raises:
        BenchError: at paper scale, if the folders' order is not known to be that of the published labels.
    """
    if plan.scale == "paper":
        photos.check_official()
    if photos.labelling != NUMBERS:
        return plan
    return replace(plan, world=f"{plan.world}; labels are {photos.labelling}")


def _ablation(ablation: Ablation, options: Options) -> TableResult | None:
    if not this_process().is_first:
        return None
    return make_ablation(ablation, scale=options.scale, command=_command(), provenance=provenance())


def _figure7(options: Options) -> TableResult | None:
    if options.scale == "paper":
        raise BenchError("no finetuning at paper scale is recorded for figure7: use --scale micro")
    if not this_process().is_first:
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
        found[name] = expanded(path, f"--checkpoint {name}")
        if not found[name].is_file():
            raise BenchError(f"there is no checkpoint '{path}' for model '{name}': check the path")
    return found


def say(line: str) -> None:
    """Tell the user something that is no result; the first of several processes does."""
    if this_process().is_first:
        notice(line)


_ALL = frozenset(option.name for option in fields(Options))
_OF_ROWS = frozenset({"scale", "models", "checkpoint", "limit", "device"})


def _of_records(ablation: Ablation, trained_with: str = "") -> Maker:
    return Maker(ablation.title, partial(_ablation, ablation), frozenset({"scale"}), trained_with)


MAKERS: Mapping[str, Maker] = {
    "table1": Maker(table1.TITLE, partial(_rows, table1, Photos(open_imagenet, lambda: imagenet_root())), _OF_ROWS),
    "table2": Maker(table2.TITLE, partial(_rows, table2, Photos(open_coco, lambda: detection_root())), _OF_ROWS),
    "table3": Maker(table3.TITLE, partial(_rows, table3, Photos(open_ade20k, lambda: ade20k_root())), _OF_ROWS),
    "table4": Maker(table4.TITLE, partial(_promptable, "table4"), _ALL),
    "table5": Maker(table5.TITLE, partial(_promptable, "table5"), _ALL),
    "table6": _of_records(table6.TABLE),
    "table7": _of_records(table7.TABLE),
    "ablations": _of_records(section44.TABLE, "table6"),
    "figure7": Maker(figure7.TITLE, _figure7, frozenset({"scale"})),
}
"""Everything that `bench run` makes."""
