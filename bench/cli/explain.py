"""`bench explain TABLE MODEL --from ... --to ...`: which choice of the protocol moved a number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import paths
from bench.cli.as_json import AsJson, print_json
from bench.cli.run import boxes_of, checkpoints_of, embedding_folder, run_settings
from bench.data.catalog import INSTANCE_SETS
from bench.data.own import own_data
from bench.metrics.interval import Interval
from bench.store import RunStore
from models.errors import BenchError, printable
from protocols import tables
from protocols.chosen import called
from protocols.inspect.explain import (
    PUBLISHED,
    Explanation,
    PublishedNumber,
    axes_at,
    changes,
    column_of,
    explain,
    published_number,
    read_protocol,
    shown_change,
)
from protocols.inspect.explain_run import measure, subject_of
from protocols.inspect.shares import shares
from protocols.plan import Plan, Subject
from protocols.settings import Scale, Settings
from protocols.table import data_set_of
from reports import wording
from reports.write import plain

EXPLAINED = "explained"
"""Folder within that of the runs: protocols on the way are nobody's result, so `TABLE/MODEL` must not find them."""


def explain_number(
    table: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")],
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    /,
    first: Annotated[str, tyro.conf.arg(name="from", metavar="PROTOCOL")] = "paper",
    second: Annotated[str, tyro.conf.arg(name="to", metavar="PROTOCOL|PUBLISHED[:PROTOCOL]")] = PUBLISHED,
    column: str | None = None,
    scale: Scale = "auto",
    checkpoint: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=PATH ...")] = (),
    limit: int | None = None,
    device: str = "cpu",
    embeddings: Annotated[float, tyro.conf.arg(metavar="GB")] = 0.0,
    data: Annotated[str | None, tyro.conf.arg(metavar="FORMAT:FILE.json,FOLDER")] = None,
    boxes: Path | None = None,
    orders: int = 12,
    as_json: AsJson = False,
) -> None:
    """Say which choice of the protocol explains how much of the difference between two numbers of a model.

    A protocol is a preset, also with choices that it has otherwise: tinysam, or paper,mask_pick=single. Of the axes in
    which the two differ, those that matter for the column are changed one after another, and the model is measured at
    every protocol on the way, on the same images. Each image is embedded once for all of them.

        bench explain table4 sam-micro --from paper --to efficientvit --column coco_1click
        bench explain table5 efficientsam-ti --from paper,mask_pick=single --to PUBLISHED
        bench explain table5 sam-vit-h --from tinysam,mask_pick=single --to PUBLISHED:tinysam --limit 500

    alone: what a choice changes as the only one. share: what it adds, as the mean over all orders in which the choices
    can change (Shapley's value), so that shares add up to the difference.

    Exit code: 0; 1 where a published number is not explained, since what no choice explains is not 0 by its interval.

    Args:
        table: table4, table5 or clicks.
        model: A name of `bench list`.
        first: The protocol of your number.
        second: The other one, or PUBLISHED for what was published of the model: its protocol, and what is left then.
        column: The column by its key, e.g. coco_1click. Default: the first that both protocols have.
        scale: As of `bench run`.
        checkpoint: Your own weights for the model, NAME=PATH.
        limit: Ask only the first images.
        device: Where the model runs, e.g. cpu or cuda.
        embeddings: Keep the embeddings of images in the cache, at most so many GB, for later commands.
        data: Ask about data of your own, as of `bench run`.
        boxes: For table5 on --data: a detector's boxes, a COCO results file.
        orders: Where choices are too many to measure all combinations (over 64): so many orders, drawn at random.
        as_json: Print the numbers as JSON.
    """
    if orders < 1:
        raise BenchError(f"--orders must be at least 1, got {orders}")
    module = tables.find(table)
    settings = replace(
        run_settings(limit, device),
        scale=scale,
        models=(model,),
        store=RunStore(paths.runs_root() / EXPLAINED),
        checkpoints=checkpoints_of(checkpoint),
        embeddings=embedding_folder(embeddings),
        data=None if data is None else own_data(data),
        boxes=boxes_of(boxes, data),
    )
    world, subject = subject_of(module, settings)
    number = None
    start = read_protocol(first, module)
    if second.partition(":")[0] == PUBLISHED:
        column = column_of(module, column, start, start)
        number = _published(module, column, second.partition(":")[2], subject, world, settings)
        second = number.protocol
    end = read_protocol(second, module)
    column = column_of(module, column, start, end)
    found = changes(module, column, start, end)
    plan = shares([change.rank for change in found], orders=orders)
    protocols = [axes_at(start, column, found, point) for point in plan.points]
    measured = measure(module, column, protocols, settings)
    result = explain(found, plan, dict(zip(plan.points, measured, strict=True)), number)
    names = (called(module, start), called(module, end))
    if as_json:
        print_json([_as_json(module, column, model, names, result)])
    else:
        _print(module, column, model, names, result, measured[0].images)
    if unexplained(result):
        raise SystemExit(1)


def unexplained(result: Explanation) -> bool:
    """Say whether a published number is off by more than its interval allows."""
    rest = result.rest
    return rest is not None and (rest.low > 0 or rest.high < 0)


def _published(
    table: ModuleType, column: str, protocol: str, subject: Subject, plan: Plan, settings: Settings
) -> PublishedNumber:
    """Return the published number of the model, if what is measured here is what it is about."""
    if plan.scale != "paper" or settings.data is not None:
        raise BenchError(
            f"nothing was published of {subject.model} on these data, and no micro number is comparable with a "
            "paper's: name a protocol, e.g. --to efficientvit"
        )
    return published_number(table, column, subject.card, protocol)


def _as_json(table: ModuleType, column: str, model: str, names: tuple[str, str], result: Explanation) -> dict[str, Any]:
    whole = {
        "table": table.NAME,
        "column": column,
        "model": model,
        "from": {"protocol": names[0], **result.first._asdict()},
        "to": {"protocol": names[1], **result.second._asdict()},
        "gap": result.gap._asdict(),
        "choices": [
            {
                "axis": part.change.axis,
                "from": part.change.first,
                "to": part.change.second,
                "alone": None if part.alone is None else part.alone._asdict(),
                "share": part.share._asdict(),
            }
            for part in result.parts
        ],
        "published": result.published,
        "rest": None if result.rest is None else result.rest._asdict(),
        "notes": result.notes,
    }
    if result.published is not None:
        number = result.published
        whole["published"] = {"value": number.value, "protocol": number.protocol, "source": number.source}
    return plain(whole)  # type: ignore[no-any-return]


def _print(
    table: ModuleType, column: str, model: str, names: tuple[str, str], result: Explanation, images: int
) -> None:
    console = Console()
    shown = next(one for one in table.COLUMNS if one.key == column)
    percent = shown.percent
    _line(console, f"{model}, {table.NAME} {shown.group} {shown.label}, {images:,} images")
    for word, name, one in zip(("from", "to"), names, (result.first, result.second), strict=True):
        ends = wording.bracket(one.low, one.high, percent)
        _line(console, f"{word:>4} {wording.number(one.value, percent)} {ends}  {name}")
    grid = Table(box=None)
    for head in ("choice", "from -> to", "alone", "share", "95 % interval", "of all"):
        grid.add_column(head, justify="right" if head in ("alone", "share", "of all") else "left", overflow="fold")
    decided = result.gap.low > 0 or result.gap.high < 0
    for part in result.parts:
        of_all = f"{_whole(100 * part.share.value / result.gap.value)} %" if decided else ""
        alone = "" if part.alone is None else wording.signed(part.alone.value, percent)
        cells = (part.change.axis, shown_change(part.change), alone, *_signed(part.share, percent), of_all)
        grid.add_row(*(Text(printable(cell)) for cell in cells))
    grid.add_row("all choices", "", "", *_signed(result.gap, percent), "100 %" if decided else "")
    if result.rest is not None:
        grid.add_row("no choice", "", "", *_signed(result.rest, percent), "")
    console.print(grid)
    whole = INSTANCE_SETS[data_set_of(table, column)].n_images
    extent = "on as many images" if images == whole else f"on {whole:,} images, measured here on {images:,}"
    for line in _words(result, percent, extent, decided=decided):
        _line(console, line)


def _words(result: Explanation, percent: bool, extent: str, *, decided: bool) -> list[str]:
    """Say what the numbers mean."""
    lines = list(result.notes)
    if not result.parts:
        lines.append("the two protocols ask and score this column alike: nothing differs that matters for it")
    elif not decided:
        lines.append("the difference is not decided at this number of images: its interval holds 0")
    number = result.published
    if number is not None:
        value = wording.number(number.value, percent)
        lines.append(f"published under {number.protocol}: {value} ({number.source}), {extent}")
        if number.differs:
            lines.append(f"of the published number: {number.differs}")
        what = "is not 0 by its interval" if unexplained(result) else "may be chance: its interval holds 0"
        lines.append(f"what no choice explains {what}")
    elif result.parts:
        lines.append("both numbers were measured here: nothing is left that no choice explains")
    return lines


def _whole(value: float) -> str:
    """Return a number without decimals.

    >>> _whole(-0.2), _whole(87.6)
    ('0', '88')
    """
    return f"{round(value)}"


def _signed(one: Interval, percent: bool) -> tuple[str, str]:
    return wording.signed(one.value, percent), wording.bracket(one.low, one.high, percent, sign=True)


def _line(console: Console, text: str) -> None:
    console.print(Text(printable(text)), soft_wrap=True, highlight=False)
