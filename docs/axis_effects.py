"""How much each choice of an evaluator moves Table 4: one axis at a time, same model, same images, paired intervals.

Command: `python docs/axis_effects.py --limit 32`. Cost: about five minutes of one core; what was asked before is taken
from the run store. Writes docs/generated/axis_effects.md, which docs/why_papers_disagree.md shows, and its data beside
it as CSV. `bench explain` does the same for all choices in which two protocols differ.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro

from bench import paths
from bench.cli.explain import EXPLAINED
from bench.cli.run import run_settings
from bench.metrics.interval import percentile_interval
from bench.store import RunStore
from bench.store.bounded import BoundedFolder
from models.errors import BenchError
from protocols import table4
from protocols.axes import PAPER, Axes
from protocols.chosen import shown
from protocols.inspect.explain_run import measure
from protocols.settings import Settings

OUT = Path(__file__).parent / "generated"
COLUMNS = {"coco_box": "box", "coco_1click": "1 click", "coco_3click": "3 clicks"}
CENTRE, RITM = {"clicks": "centre"}, {"clicks": "ritm"}


@dataclass(frozen=True, slots=True)
class Change:
    """One choice made otherwise."""

    axis: str
    value: Any
    given: Mapping[str, Any] = field(default_factory=dict)
    """What else both sides of the difference choose, where the axis means nothing without it."""


CHANGES = (
    Change("mask_pick", "single"),
    Change("mask_pick", "box_iou"),
    Change("mask_pick", "filled_box_iou"),
    Change("mask_pick", "oracle"),
    Change("refinement", 1),
    Change("box_source", "tight_last_pixel"),
    Change("box_source", "annotation"),
    Change("clip_boxes", False, {"box_source": "annotation"}),
    Change("seed", 1),
    Change("repeats", 3),
    Change("clicks", "centre"),
    Change("first_click", "approximately_deepest", CENTRE),
    Change("first_click", "centre_of_mass", CENTRE),
    Change("click_frame", "low_resolution", CENTRE),
    Change("smallest_error", 10, CENTRE),
    Change("clicks", "ritm"),
    Change("tie", "background", RITM),
    Change("click_again", False, RITM),
    Change("truth_raster", "frame"),
    Change("crowd", "keep"),
    Change("smallest_area", 1024.0),
    Change("averaging", "category"),
)


def main(model: str = "efficientsam-ti-micro", limit: int | None = None, device: str = "cpu", out: Path = OUT) -> None:
    """Measure the effect of each axis of Table 4 on a model's mIoU and write the table.

    Args:
        model: Whose; a micro model.
        limit: Ask only the first images.
        device: Where it runs.
        out: Folder of axis_effects.md and axis_effects.csv.
    """
    settings = replace(
        run_settings(limit, device),
        scale="micro",
        models=(model,),
        store=RunStore(paths.runs_root() / EXPLAINED),
        embeddings=BoundedFolder(paths.cache_dir() / "embeddings", int(2e9)),
    )
    effects = pd.DataFrame([line for change in CHANGES for line in effect(change, settings)])
    out.mkdir(parents=True, exist_ok=True)
    effects.to_csv(out / "axis_effects.csv", index=False)
    command = f"python docs/axis_effects.py {shlex.join(sys.argv[1:])}".strip()
    (out / "axis_effects.md").write_text(page(effects, command, model), encoding="utf-8")


def effect(change: Change, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the difference that a change makes, 0..1, a line a column of Table 4 that it concerns."""
    for column in COLUMNS:
        if not _concerns(change.axis, column):
            continue
        before = replace(PAPER, **change.given, columns=(column,))
        line = {
            "axis": change.axis,
            "value": shown(change.value),
            "instead": shown(getattr(before, change.axis)),
            "given": ", ".join(f"{name}={shown(value)}" for name, value in change.given.items()),
            "column": column,
        }
        try:
            yield line | difference(column, before, replace(before, **{change.axis: change.value}), settings)
        except BenchError as error:
            why = str(error).partition("between the two protocols: ")[2]
            if not why:
                raise
            yield line | dict.fromkeys(("difference", "low", "high", "images"), np.nan) | {"why": why}


def _concerns(axis: str, column: str) -> bool:
    """Whether a column's number can depend on an axis; the draws of random clicks are the paper's own noise."""
    return "click" in column if axis in ("seed", "repeats") else axis in table4.MATTERS[column]


def difference(column: str, before: Axes, after: Axes, settings: Settings) -> dict[str, Any]:
    """Return what a column gains, with its 95 % interval from the same draws of images for both.

    Raises:
        BenchError: if the model cannot be asked so.
    """
    first, second = measure(table4, column, [before, after], settings)
    images = first.images
    found = percentile_interval(second.value - first.value, second.draws - first.draws, second.n, images=images)
    return {"difference": found.value, "low": found.low, "high": found.high, "images": images, "why": ""}


def page(effects: pd.DataFrame, command: str, model: str) -> str:
    """Return the table as Markdown: a row a change, a column a prompt, differences in points."""
    lines = [
        f"<!-- generated: {command} -->",
        f"mIoU of `{model}` on {effects['images'].max():.0f} images of COCO's layout of the dead leaves: what the "
        "choice adds to the value before it, in points, with 95 % intervals over the same images. Made by",
        "",
        f"```sh\n{command}\n```",
        "",
        f"| axis | instead of | {' | '.join(COLUMNS.values())} |",
        f"|---|---|{'---:|' * len(COLUMNS)}",
    ]
    silent: dict[str, list[str]] = {}
    for (axis, value, instead, given), part in effects.groupby(["axis", "value", "instead", "given"], sort=False):
        cells = dict(zip(part["column"], part.itertuples(), strict=True))
        choice = f"`{axis}={value}`" + (f" (with `{given}`)" if given else "")
        if all(line.why for line in cells.values()):
            silent.setdefault("; ".join(dict.fromkeys(part["why"])), []).append(choice)
            continue
        shown_as = [_cell(cells[column]) if column in cells else "" for column in COLUMNS]
        lines.append(f"| {choice} | `{instead}` | {' | '.join(shown_as)} |")
    partly = dict.fromkeys(why for why in effects["why"] if why and why not in silent)
    lines += [f"\nNot asked: {why}." for why in partly]
    lines += [f"\nNot measured of this model: {', '.join(choices)}: {why}." for why, choices in silent.items()]
    return "\n".join(lines).rstrip() + "\n"


def _cell(line: Any) -> str:
    if line.why:
        return "not asked"
    value, low, high = (round(100 * one, 1) + 0.0 for one in (line.difference, line.low, line.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−")


if __name__ == "__main__":
    tyro.cli(main)
