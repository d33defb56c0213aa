"""`bench check-model NAME`: whether a model keeps the contract, and how long its tables will take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.cli.as_json import AsJson, print_json
from bench.data.catalog import INSTANCE_SETS, InstanceSet
from bench.progress import progress
from models import zoo
from models.checks.run import IMAGES, run_checks
from models.checks.verdict import Verdict
from models.engines.float32 import engine, threads
from models.errors import BenchError, printable
from models.files.trust import vouched_for
from protocols import tables
from protocols.axes import PAPER
from protocols.defaults import of

WIDTH = 150
"""Columns where the output is no terminal: a line a verdict."""
STYLES = {"ok": "green", "wrong": "bold red", "undecided": "yellow"}


def check_model(
    model: tyro.conf.Positional[str],
    /,
    checkpoint: Path | None = None,
    trust: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = (),
    device: str = "cpu",
    as_json: AsJson = False,
) -> None:
    """Check a model in a minute, before it is measured for a night.

    One line each: the contract (models/segmenter.py), whether answers lie where boxes and clicks were asked (x and y
    swapped, normalised or padded coordinates are named as the likely mistake), whether they are the same twice, for
    prompts asked together or alone and for images seen before or beside, images from 1 x 1 to 4000 x 3000 px, what an
    image and a prompt cost, and from that the hours of each table on the published data. Images are synthetic.

        bench check-model efficientsam-ti
        bench check-model sam-vit-h --device cuda
        bench check-model efficientsam-ti --checkpoint my_weights.pt --json

    A verdict is ok, wrong or undecided: a model with random weights answers nothing that tells where it was asked.
    The exit code is 1 if one is wrong.

    Args:
        model: A name of `bench list`, plug-ins included, or a model that needs no package, e.g.
            predictor:my_model:build.
        checkpoint: Your own weights for the model.
        trust: A checkpoint of FastSAM that is not the published one and may run code as it is read.
        device: Where the model runs, e.g. cpu or cuda.
        as_json: Print the verdicts and what was measured as JSON.
    """
    segmenter = zoo.load(model, checkpoint=checkpoint, device=device, trusted=vouched_for(trust))
    found: dict[str, Verdict] = {}
    with engine(exact=True), threads(zoo.card(model).threads), progress(model, total=IMAGES, unit="images") as advance:
        found.update(run_checks(segmenter, advance))
    found |= estimates(found["time"])
    if as_json:
        print_json(
            [
                {"check": name, "verdict": one.outcome, "said": one.said, "values": dict(one.values)}
                for name, one in found.items()
            ]
        )
    else:
        _tell(model, found)
    if any(one.outcome == "wrong" for one in found.values()):
        raise SystemExit(1)


def estimates(time: Verdict) -> dict[str, Verdict]:
    """Return how long each table of promptable models would take on each published set, from the check of time."""
    if "seconds_an_image" not in time.values:
        return {}
    found = {}
    for table, published, prompts in _asked():
        hours = (
            published.n_images * time.values["seconds_an_image"] + prompts * time.values["seconds_a_prompt"]
        ) / 3600
        said = f"about {_duration(hours)} of the model alone: {published.n_images:,} images, {prompts:,} prompts"
        found[f"{table.NAME} on {published.name}"] = Verdict("ok", said, {"hours": hours})
    return found


def _asked() -> Iterator[tuple[ModuleType, InstanceSet, int]]:
    """Yield each table of promptable models with each of its published sets and how many prompts it asks about it."""
    for name in tables.names():
        with suppress(BenchError):  # a table of a broken package is named by `bench list`
            table = tables.find(name)
            sets = [INSTANCE_SETS[one] for one in getattr(table, "DATA_SETS", ()) if one in INSTANCE_SETS]
            counts = [of(table, "count_prompts")(one, PAPER) for one in sets]
            yield from ((table, one, count) for one, count in zip(sets, counts, strict=True) if count)


def _duration(hours: float) -> str:
    """Return a duration in words.

    >>> _duration(0.2), _duration(7.34), _duration(100)
    ('12 min', '7.3 h', '100 h')
    """
    if hours < 1:
        return f"{max(1, round(60 * hours))} min"
    return f"{hours:.1f} h" if hours < 10 else f"{hours:,.0f} h"


def _tell(model: str, found: dict[str, Verdict]) -> None:
    """Print a line for each verdict, and what they come to."""
    table = Table("check", "verdict", "what was seen", box=None)
    for name, one in found.items():
        table.add_row(name, Text(one.outcome, STYLES[one.outcome]), Text(printable(one.said)))
    console = Console()
    console = console if console.is_terminal else Console(file=console.file, width=max(WIDTH, console.width))
    console.print(table)
    counts = {outcome: sum(one.outcome == outcome for one in found.values()) for outcome in STYLES}
    summed = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    console.print(Text(printable(f"{model}: {summed}")), soft_wrap=True, highlight=False)
