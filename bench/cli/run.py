"""`bench run TABLE ...`: make tables and figures of the paper."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Annotated

import tyro

from bench import paths
from bench.data.own import own_data
from bench.paths import runs_root
from bench.processes import this_process
from bench.progress import images_progress, notice
from bench.provenance import provenance
from bench.store import RunStore
from bench.store.bounded import BoundedFolder
from models.engines.names import Engine
from models.errors import BenchError
from models.files.folders import expanded
from models.files.trust import vouched_for
from protocols import axes as choices
from protocols import tables
from protocols.chosen import check_named, read_axes
from protocols.results import TableResult
from protocols.settings import Scale, Settings
from protocols.table import ask_tables, make_tables
from reports.terminal import print_table
from reports.write import check_folder, write_report

OUT = Path("reports/out")

Ending = Callable[[Sequence[ModuleType], Settings, Path], None]
"""(tables, settings, folder of the report): what is done with what a user asked for."""


def report_tables(modules: Sequence[ModuleType], settings: Settings, out: Path) -> None:
    """Make tables, print them and write them to a folder."""
    check_folder(out)
    for result in make(modules, settings):
        _report(result, out)


def keep_records(modules: Sequence[ModuleType], settings: Settings, out: Path) -> None:
    """Ask the models of tables and keep what they answer.

    Raises:
        BenchError: for a table that has no records of its own.
    """
    for table in modules:
        if hasattr(table, "make"):
            raise BenchError(f"{table.NAME} keeps no records of models: leave it or --records-only out")
    ask_tables(modules, settings)
    say(f"records are in {runs_root()}; the same command without --records-only makes the tables")


def run(
    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="TABLE ...")],
    /,
    scale: Scale = "auto",
    models: tuple[str, ...] = (),
    checkpoint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=PATH ...")] = (),
    trust: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    preset: str = "paper",
    axis: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE")] = (),
    limit: int | None = None,
    seed: int = 0,
    repeats: int | None = None,
    device: str = "cpu",
    engine: Engine = "exact",
    embeddings: Annotated[float, tyro.conf.arg(metavar="GB")] = 0.0,
    data: Annotated[str | None, tyro.conf.arg(metavar="FORMAT:FILE.json,FOLDER")] = None,
    boxes: Path | None = None,
    out: Path = OUT,
    records_only: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    adopt: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    train: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    ending: Annotated[Ending, tyro.conf.Fixed, tyro.conf.Suppress] = report_tables,
) -> None:
    """Measure tables of the paper and report them beside the paper's numbers.

    Ends with each table in the terminal and writes it as CSV, JSON, Markdown, LaTeX, HTML and PNG. What was measured
    before is taken from ./runs (or $BENCH_RUNS), so a killed run goes on where it was. Of several tables, each model
    is loaded once, and an image that several of them ask about is embedded once.

    Args:
        names: Tables and figures, e.g. table4; `bench list` shows them all.
        scale: paper: published data in $BENCH_DATA and full-size models. micro: dead leaves and micro models.
            auto: paper's data and models where they are on disk, else micro's, and says which.
        models: Measure these only: names of `bench list`, rows of the table, floor or ceiling, or a model that needs no
            package (`bench list` tells all forms), e.g. hf:facebook/sam2.1-hiera-tiny.
        checkpoint: Your own weights for a model, e.g. efficientsam-ti=my.pt.
        trust: A checkpoint of FastSAM that is not the published one and may run code as it is read; once for each
            file. Only for files whose maker you know.
        preset: Whose evaluation protocol: paper, efficientvit, tinysam, edgesam, segment-anything-fast, segnext or
            ultralytics.
        axis: One choice of the protocol otherwise than the preset has it, e.g. mask_pick=single; once for each choice.
            `bench list axes` shows them all. The result is called by what differs: "paper, but mask_pick=single".
        limit: Ask only the first images of each data set; every output says so.
        seed: Of random clicks.
        repeats: Draws of random clicks for each mask, default 1.
        device: Where models run, e.g. cpu or cuda.
        engine: How networks compute. reference: the published operations one by one. exact: the same numbers but for
            float rounding, several times as fast. fast: bfloat16, for exploration. `bench engines` compares them.
        embeddings: Keep the embeddings of images in the cache, at most so many GB, and take those that are there: later
            tables, presets and prompts about the same photos then need no image encoder. 4 MiB a photo of a
            full-size model; numbers do not change.
        data: Ask about data of your own: coco:ANNOTATIONS.json,IMAGES/ or lvis:ANNOTATIONS.json,IMAGES/. The file ends
            at the first ".json,", so that paths may have blanks and commas. The report calls them by the file's name
            and compares nothing with a paper.
        boxes: For table5 on --data: a detector's boxes, a COCO results file; jittered truths if not given.
        out: Folder of the report.
        records_only: Ask models and keep their answers, without scoring and report: a machine's share of a sweep.
        adopt: Where a finished run differs from the wanted one by versions of code or libraries alone, re-execute a
            random sample of its images; if every record comes out identical, take its records over, else say which
            differs and measure again. Footnotes say what was checked.
        train: First run the trainings behind the tables again (hours at micro scale).
        ending: What is done with tables and settings.
    """
    given = {
        "scale": scale != "auto",
        "models": bool(models),
        "checkpoint": bool(checkpoint),
        "trust": bool(trust),
        "preset": preset != "paper",
        "axis": bool(axis),
        "limit": limit is not None,
        "seed": seed != 0,
        "repeats": repeats is not None,
        "device": device != "cpu",
        "engine": engine != "exact",
        "embeddings": embeddings != 0,
        "data": data is not None,
        "boxes": boxes is not None,
    }
    if not names:
        raise BenchError(f"name a table to make: {', '.join(tables.names())}")
    modules = [tables.find(name) for name in dict.fromkeys(names)]
    for table in modules:
        check_options(table, [option for option, is_given in given.items() if is_given])
    named = read_axes(
        [*axis, *([f"seed={seed}"] if seed else []), *([] if repeats is None else [f"repeats={repeats}"])]
    )
    check_named(modules, list(read_axes(axis)))
    settings = replace(
        run_settings(limit, device),
        scale=scale,
        models=models,
        checkpoints=checkpoints_of(checkpoint),
        trusted=vouched_for(trust),
        axes=replace(choices.preset(preset), **named),
        preset=preset,
        named=tuple(named),
        embeddings=embedding_folder(embeddings),
        engine=engine,
        data=None if data is None else own_data(data),
        boxes=boxes_of(boxes, data),
        adopt=adopt,
    )
    if adopt and all(hasattr(table, "make") for table in modules):
        raise BenchError(f"{', '.join(names)} keeps no records of models: leave --adopt out")
    if train:
        _train(modules)
    (keep_records if records_only else ending)(modules, settings, out)


def make(modules: Sequence[ModuleType], settings: Settings) -> list[TableResult]:
    """Make tables in the order given; none on all processes but the first, which says that it is done."""
    asking = [table for table in modules if not hasattr(table, "make")]
    made = make_tables(asking, settings) if asking else []
    of_name = {result.name: result for result in made or []}
    for table in modules:
        if hasattr(table, "make") and (result := table.make(table, settings)) is not None:
            of_name[table.NAME] = result
    if not this_process().is_first:
        which = ", ".join(table.NAME for table in modules)
        notice(f"{which}: {this_process()} is done; the first one writes the report")
    return [of_name[table.NAME] for table in modules if table.NAME in of_name]


def check_options(table: ModuleType, given: Sequence[str]) -> None:
    """Raise a BenchError if an option that was given means nothing to a table."""
    for option in given:
        if option not in table.TAKES:
            flags = ", ".join(f"--{name}" for name in sorted(table.TAKES))
            raise BenchError(f"--{option} means nothing to {table.NAME}: it takes {flags}")


def embedding_folder(gigabytes: float) -> BoundedFolder | None:
    """Return where embeddings are kept, None if they are not.

    Raises:
        BenchError: for a number below 0.
    """
    if not gigabytes >= 0:
        raise BenchError(f"--embeddings takes GB of the disk, got {gigabytes:g}: give 20, or leave it out")
    return BoundedFolder(paths.cache_dir() / "embeddings", int(gigabytes * 1e9)) if gigabytes else None


def run_settings(limit: int | None, device: str) -> Settings:
    """Return the settings of a command: its store, its progress bar, its provenance.

    Raises:
        BenchError: for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise BenchError(f"--limit must be at least 1, got {limit}")

    return Settings(
        limit=limit,
        device=device,
        data_root=paths.data_root(),
        store=RunStore(),
        progress=images_progress,
        say=say,
        command=f"python -m bench {shlex.join(sys.argv[1:])}",
        provenance=provenance(),
    )


def boxes_of(boxes: Path | None, data: str | None) -> Path | None:
    """Return the file of boxes about data of the user's own."""
    if boxes is not None and data is None:
        raise BenchError(
            "--boxes is a file about data of your own: give --data too (published boxes are found by name)"
        )
    if boxes is not None and not boxes.is_file():
        raise BenchError(f"there is no file of boxes '{boxes}': check the path")
    return boxes


def checkpoints_of(entries: Sequence[str]) -> dict[str, Path]:
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


def _report(result: TableResult, out: Path) -> None:
    print_table(result)
    earlier = _command_of(out / f"{result.stem}.json")
    try:
        files = write_report(result, out)
    except BenchError as error:
        kept = f" (what was measured is kept in {runs_root()})" if "limit" in tables.find(result.name).TAKES else ""
        raise BenchError(f"{error}; the same command, with --out FOLDER, makes it again{kept}") from error
    forms = [file.suffix[1:] for file in files if file.stem == result.stem]
    pictures = [f", {file}" for file in files if file.stem != result.stem]
    say(f"wrote {files[0].with_suffix('')}.{{{','.join(forms)}}}{''.join(pictures)}")
    if earlier not in ("", result.command):
        say(f"which were those of `{earlier}`: --out FOLDER keeps both, and what was measured is kept in any case")


def _command_of(report: Path) -> str:
    """Return the command that made an earlier report, empty if there is none that can be read."""
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads(report.read_text(encoding="utf-8")).get("command") or "")
    return ""


def _train(modules: Sequence[ModuleType]) -> None:
    from bench.training.all import train_table  # training's imports take a second

    for table in modules:
        train_table(getattr(table, "TRAINED_WITH", "") or table.NAME)
