"""`bench run TABLE`: make one table or figure of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from bench.cli.makers import MAKERS, Options, make, say
from bench.paths import runs_root
from bench.processes import this_process
from bench.progress import notice
from models.errors import BenchError, unknown_name
from protocols.row_plan import Scale
from reports.terminal import print_table
from reports.write import check_folder, write_report

OUT = Path("reports/out")


def run(
    table: tyro.conf.Positional[str],
    /,
    scale: Scale = "auto",
    models: tuple[str, ...] = (),
    checkpoint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=PATH ...")] = (),
    trust: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    preset: str = "paper",
    limit: int | None = None,
    seed: int = 0,
    repeats: int | None = None,
    device: str = "cpu",
    out: Path = OUT,
    train: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Measure a table of the paper and report it beside the paper's numbers.

    Ends with the table in the terminal and writes it as CSV, JSON, Markdown, LaTeX, HTML and PNG. What was measured
    before is taken from ./runs (or $BENCH_RUNS), so a killed run goes on where it was.

    Args:
        table: table1 (ImageNet top-1), table2 (ViTDet detectors, AP), table3 (ADE20K, mIoU), table4 (clicks and boxes,
            mIoU), table5 (a detector's boxes, AP); from records of trainings: table6 (losses), table7 (mask ratios),
            ablations (decoder, target), figure7 (epochs).
        scale: paper: published data in $BENCH_DATA and full-size models. micro: dead leaves and micro models.
            auto: paper's data and models where they are on disk, else micro's, and says which.
        models: Measure these only: names of `bench list`, rows of the table, floor or ceiling.
        checkpoint: Your own weights for a model, e.g. efficientsam-ti=my.pt.
        trust: A checkpoint of FastSAM that is not the published one and may run code as it is read; once for each
            file. Only for files whose maker you know.
        preset: Whose evaluation protocol: paper, efficientvit, tinysam, edgesam or segment-anything-fast.
        limit: Ask only the first images of each data set; every output says so.
        seed: Of random clicks.
        repeats: Draws of random clicks for each mask, default 1.
        device: Where models run, e.g. cpu or cuda.
        out: Folder of the report.
        train: First run the trainings behind the table again (hours at micro scale).
    """
    if table not in MAKERS:
        raise unknown_name("table", table, MAKERS)
    options = Options(
        scale=scale,
        models=models,
        checkpoint=checkpoint,
        trust=trust,
        preset=preset,
        limit=limit,
        seed=seed,
        repeats=repeats,
        device=device,
    )
    if train:
        _train(table)
    check_folder(out)
    result = make(table, MAKERS[table], options)
    if result is None:
        notice(f"{table}: {this_process()} is done; the first one writes the report")
        return
    print_table(result)
    try:
        files = write_report(result, out)
    except BenchError as error:
        kept = "" if not MAKERS[table].takes & {"limit"} else f" (what was measured is kept in {runs_root()})"
        raise BenchError(f"{error}; the same command, with --out FOLDER, makes it again{kept}") from error
    say(f"wrote {files[0].with_suffix('')}.{{{','.join(f.suffix[1:] for f in files)}}}")


def _train(table: str) -> None:
    from bench.training.all import train_table  # training's imports take a second

    train_table(MAKERS[table].trained_with or table)


__all__ = ["run", "say"]
