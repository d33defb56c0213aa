"""`bench run TABLE`: make one table of the paper."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from bench import paths
from bench.data.dead_leaves import world_root
from bench.progress import progress
from bench.provenance import provenance
from bench.store import RunStore
from models.errors import BenchError
from protocols import axes as choices
from protocols.plan import Plan, Scale, make_plan
from protocols.tables import PAPER_ROWS, Settings, make_table, protocol_of
from reports.terminal import print_table
from reports.write import write_report

OUT = Path("reports/out")


def run(
    table: tyro.conf.Positional[str],
    /,
    scale: Scale = "auto",
    models: tuple[str, ...] = (),
    checkpoint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=PATH ...")] = (),
    preset: str = "paper",
    limit: int | None = None,
    seed: int = 0,
    repeats: int | None = None,
    device: str = "cpu",
    out: Path = OUT,
) -> None:
    """Measure a table of the paper and report it beside the paper's numbers.

    Ends with the table in the terminal and writes it as CSV, JSON, Markdown, LaTeX, HTML and PNG. What was measured
    before is taken from ./runs (or $BENCH_RUNS), so a killed run goes on where it was.

    Args:
        table: table4 (clicks and boxes, mIoU) or table5 (a detector's boxes, AP).
        scale: paper: published data in $BENCH_DATA and full-size models. micro: dead leaves and micro models.
            auto: paper's data and models where they are on disk, else micro's, and says which.
        models: Measure these only: names of `bench list`, rows of the table, floor or ceiling.
        checkpoint: Your own weights for a model, e.g. efficientsam-ti=my.pt.
        preset: Whose evaluation protocol: paper, efficientvit, tinysam, edgesam or segment-anything-fast.
        limit: Ask only the first images of each data set; every output says so.
        seed: Of random clicks.
        repeats: Draws of random clicks for each mask, default 1.
        device: Where models run, e.g. cpu or cuda.
        out: Folder of the report.
    """
    protocol = protocol_of(table)
    if limit is not None and limit < 1:
        raise BenchError(f"--limit must be at least 1, got {limit}")
    axes = replace(choices.preset(preset), seed=seed)
    axes = axes if repeats is None else replace(axes, repeats=repeats)
    plan = make_plan(
        PAPER_ROWS[protocol.NAME],
        scale=scale,
        models=models,
        checkpoints=_checkpoints(checkpoint),
        data_root=paths.data_root(),
        micro_root=world_root,
    )
    say(f"{table}: {plan.world}")
    result = make_table(table, plan, _settings(axes, preset, limit, device))
    if result is None:
        return
    print_table(result)
    files = write_report(result, out)
    say(f"wrote {files[0].with_suffix('')}.{{{','.join(f.suffix[1:] for f in files)}}}")


def _settings(axes: choices.Axes, preset: str, limit: int | None, device: str) -> Settings:
    def bar(description: str, total: int, done: int) -> Any:
        return progress(description, total=total, unit="images", done=done)

    return Settings(
        axes=axes,
        preset=preset,
        limit=limit,
        device=device,
        store=RunStore(),
        progress=bar,
        say=say,
        command=f"python -m bench {shlex.join(sys.argv[1:])}",
        provenance=provenance(),
    )


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


__all__ = ["Plan", "run"]
