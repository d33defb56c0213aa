"""`bench verify RUN`: re-execute a sample of a stored run and say whether its records are what they say."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from bench import paths
from bench.cli.as_json import AsJson
from bench.cli.run import boxes_of, checkpoints_of, run_settings
from bench.data.own import own_data
from bench.progress import notice
from bench.store.differences import TOLERANCE
from bench.store.stored import find_run
from models.engines.names import Engine
from models.errors import BenchError, printable, refused
from models.files.trust import vouched_for
from protocols.chosen import read_axes
from protocols.inspect.recheck import Sample, fresh_seed
from protocols.inspect.verify import Verification
from protocols.inspect.verify import verify as verify_run
from protocols.settings import Scale

DIFFERS, NOT_VERIFIED = 1, 2
"""Exit codes; 0: all records that were checked are the same."""


def verify(
    run: tyro.conf.Positional[str],
    /,
    sample: Annotated[int | None, tyro.conf.arg(metavar="IMAGES")] = None,
    every: Annotated[bool, tyro.conf.arg(name="all"), tyro.conf.FlagCreatePairsOff] = False,
    seed: int | None = None,
    model: str | None = None,
    checkpoint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=PATH ...")] = (),
    trust: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    scale: Scale = "auto",
    data: Annotated[str | None, tyro.conf.arg(metavar="FORMAT:FILE.json,FOLDER")] = None,
    boxes: Path | None = None,
    axis: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="NAME=VALUE")] = (),
    device: str | None = None,
    engine: Engine | None = None,
    as_json: AsJson = False,
) -> None:
    """Re-execute a random sample of a stored run's images and compare every record of them with the stored one.

    The run's own question is asked again: its table, model, axes, engine and images, as run.json says, with today's
    code, weights and data. If all records are the same, this says with which probability changed ones would have been
    noticed. If one is not, it is named, and so is what changed since: weights, data, axes, engine, libraries or code.

        bench verify table4/efficientsam-ti-micro/coco
        bench verify 3f9a1c --all
        bench verify runs/3f9a1c0d2b7e4f55 --sample 200 --json

    The exit code is 0 if all are the same, 1 if one differs, 2 if the run cannot be verified.

    Args:
        run: A run's folder, its fingerprint or the first characters of it, or TABLE/MODEL or TABLE/MODEL/DATA for the
            finished run that was written last; `bench runs` lists them.
        sample: How many images are re-executed. Usually the fewest that notice with 95 % probability if the records of
            5 % of the images changed: 59 of 5,000.
        every: Re-execute all images.
        seed: Of the drawing. Usually a fresh one, so that nobody can know beforehand what is looked at; it is said.
        model: Confirms a model that is named PREFIX:REST, e.g. predictor:theirs.model:build, whose code is run.
        checkpoint: The weights of your own that the run was made with, e.g. efficientsam-ti=my.pt.
        trust: A checkpoint of FastSAM that is not the published one and may run code as it is read.
        scale: Where the data are: paper ($BENCH_DATA) or micro (dead leaves). auto: where the run's are.
        data: The data of your own that the run was made from: coco:ANNOTATIONS.json,IMAGES/ or the same with lvis.
        boxes: For table5 on --data: the detector's boxes that the run was made from.
        axis: A choice otherwise than the run has it, e.g. mask_pick=single: would that give the same records?
        device: Where the model runs now, if not where the run was made.
        engine: How it computes now, if not as when the run was made.
        as_json: Print what was found as JSON.
    """
    try:
        if sample is not None and sample < 1:
            raise BenchError(f"--sample must be at least 1 image, got {sample}: give 60, or --all")
        given = {**read_axes(axis), **({"device": device} if device else {}), **({"engine": engine} if engine else {})}
        settings = replace(
            run_settings(None, "cpu"),
            models=(model,) if model else (),
            checkpoints=checkpoints_of(checkpoint),
            trusted=vouched_for(trust),
            scale=scale,
            data=None if data is None else own_data(data),
            boxes=boxes_of(boxes, data),
            data_root=paths.data_root(),
        )
        which = Sample(sample, fresh_seed() if seed is None else seed, every)
        found = verify_run(find_run(run, settings.store), which, settings, given)
    except (BenchError, OSError) as error:
        notice(f"error: {refused(error) if isinstance(error, OSError) else error}")
        raise SystemExit(NOT_VERIFIED) from error
    if as_json:
        print(json.dumps(to_json(found), indent=1, default=str))
    else:
        _tell(found)
    if found.check.outcome == "differs":
        raise SystemExit(DIFFERS)


def to_json(found: Verification) -> dict[str, Any]:
    """Return what was found as JSON holds it."""
    check = found.check
    table, model, data = found.what
    return {
        "run": found.run,
        "table": table,
        "model": model,
        "data": data,
        "outcome": check.outcome,
        "tolerance": TOLERANCE,
        **{name: value for name, value in asdict(check).items() if name != "first"},
        "first": None if check.first is None else check.first._asdict(),
        "certificate": "" if check.outcome == "differs" else check.certificate,
        "changed": [change._asdict() for change in found.changed],
        "circumstances": [change._asdict() for change in found.circumstances],
    }


def _tell(found: Verification) -> None:
    """Print what was found, one line for each fact."""
    check = found.check
    table, model, data = found.what
    lines = [f"run {found.run}: {table}, {model} on {data}, {check.images:,} images, {check.records:,} records"]
    if check.first is None:
        lines.append(f"{check.outcome}: {check.certificate}")
    else:
        lines.append(f"differs: {check.first.words}")
        lines.append(
            f"{check.differing_images:,} of {check.checked_images:,} re-executed images differ (of {check.images:,}, "
            f"seed {check.seed})"
        )
    lines += [f"changed: {change}" for change in found.changed]
    if check.outcome != "identical":
        if not found.changed:
            lines.append(
                "nothing changed that decides records: they were altered after they were made, or this machine "
                "computes otherwise"
            )
        lines += [f"also other: {change}" for change in found.circumstances]
    console = Console()
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True, highlight=False)
