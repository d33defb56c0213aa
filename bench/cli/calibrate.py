"""`bench calibrate`: meet published numbers one after another, and learn from the first that is missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.text import Text

from bench.cli.as_json import AsJson, print_json
from bench.cli.run import checkpoints_of, run_settings
from models.engines.names import Engine
from models.errors import BenchError, printable
from protocols.published.calibration import Reading, Rung, Scale, chosen, diagnosis, published_reference, suspects
from protocols.published.ladder import climb, reference

MARKS = {"holds": ("holds", "green"), "broken": ("BROKEN", "red"), "not runnable": ("not here", "yellow")}
NOTHING_MEASURED = 3
"""Exit code where no rung could be measured: nothing was shown to be right."""


def calibrate(
    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUNG ...")] = (),
    /,
    scale: Scale = "paper",
    data: Path | None = None,
    checkpoint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=PATH ...")] = (),
    device: str = "cpu",
    engine: Engine = "exact",
    limit: int | None = None,
    go_on: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    plan: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    as_json: AsJson = False,
) -> None:
    """Measure on your machine what others published, the cheapest first, and say which choice breaks a number.

    A rung is a number that an independent evaluator published, with the protocol it was measured by. It holds if yours
    is as near as its tolerance. A broken rung names the choices it depends on; those that a rung which holds depends on
    too are cleared, and what is left most likely explains it. Stops at the first broken rung. Rungs whose photos or
    weights are not here are left out and say what they need.

    Exit code 0: every rung that could be measured holds; 1: one is broken; 3: nothing could be measured.

    Args:
        names: Rungs, e.g. masks-coco sam-b-multimask; all if none is named. `--plan` lists them.
        scale: paper: published numbers. micro: a rehearsal with the micro models, whose references are measured in the
            same run by the published operations and pycocotools.
        data: Folder of the published data sets; $BENCH_DATA if not given.
        checkpoint: Your own weights for a model, e.g. sam-vit-b=my.pth.
        device: Where models run, e.g. cpu or cuda.
        engine: How networks compute, as in `bench run`.
        limit: Micro scale: ask about the first images alone.
        go_on: Measure the rungs after a broken one too: each that holds clears choices.
        plan: List the rungs with their numbers and sources, and measure nothing.
        as_json: Print rungs and suspects as JSON.
    """
    ladder = chosen(scale, names)
    if limit is not None and scale == "paper":
        raise BenchError("--limit is for --scale micro: a published number is of the whole data set")
    if engine == "fast":
        raise BenchError("the fast engine is for exploration: calibrate with --engine exact or reference")
    if plan:
        _print_plan(ladder, as_json=as_json)
        return
    settings = replace(run_settings(limit, device), checkpoints=checkpoints_of(checkpoint), engine=engine)
    if data is not None:
        if not data.is_dir():
            raise BenchError(f"there is no folder '{data}': give the one that holds coco/ and lvis/")
        settings = replace(settings, data_root=data)
    readings = []
    for reading in climb(ladder, settings, reference_of=reference, go_on=go_on):
        readings.append(reading)
        if not as_json:
            Console().print(line(reading), soft_wrap=True, highlight=False)
    if as_json:
        print_json(
            [{"readings": [asdict(one) for one in readings], "suspects": [s._asdict() for s in suspects(readings)]}]
        )
    else:
        for words in diagnosis(readings):
            Console().print(Text(printable(words)), soft_wrap=True, highlight=False)
    _leave(readings)


def line(reading: Reading) -> Text:
    """Return a reading as a line."""
    word, style = MARKS.get(reading.status, (reading.status, "dim"))
    rung, known = reading.rung, reading.reference
    text = Text.assemble((f"{word:9} ", style), f"{rung.name}: {rung.what}")
    if known is not None and reading.measured is not None:
        text.append(f": {reading.measured:.2f}, to meet {known.value:.2f} within {rung.tolerance:g} ({known.source})")
    if reading.why:
        text.append(printable(f": {reading.why}"))
    return text


def _print_plan(ladder: Sequence[Rung], *, as_json: bool) -> None:
    known = {rung.name: published_reference(rung) for rung in ladder if rung.published}
    if as_json:
        print_json([{**asdict(rung), "reference": known.get(rung.name)} for rung in ladder])
        return
    for rung in ladder:
        number = known.get(rung.name)
        meets = f": {number.value:g} within {rung.tolerance:g} ({number.source})" if number else ""
        Console().print(Text(f"{rung.name}: {rung.what}{meets}"), soft_wrap=True, highlight=False)


def _leave(readings: Sequence[Reading]) -> None:
    found = {reading.status for reading in readings}
    if "broken" in found:
        raise SystemExit(1)
    if "holds" not in found:
        raise SystemExit(NOTHING_MEASURED)
