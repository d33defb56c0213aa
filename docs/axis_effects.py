"""How much each choice of an evaluator moves Table 4: one axis at a time, same model, same images, paired intervals.

Command: `python docs/axis_effects.py`. Cost: about ten minutes on one core; what was asked before is taken from the run
store. Writes docs/generated/axis_effects.md, which docs/why_papers_disagree.md shows, and its data beside it as CSV.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tyro

from bench import paths
from bench.cli.run import run_settings
from bench.metrics.interval import Interval, image_weights, percentile_interval
from bench.store.bounded import BoundedFolder
from protocols import table4
from protocols.axes import PAPER, Axes
from protocols.chosen import shown
from protocols.scores import Refused, Scores
from protocols.settings import Settings
from protocols.table import ask_tables

OUT = Path(__file__).parent / "generated"
COLUMNS = {"coco_box": "box", "coco_1click": "1 click", "coco_3click": "3 clicks"}
REPLICATES = 1000
CENTRE, RITM = {"clicks": "centre"}, {"clicks": "ritm"}
Choices = Mapping[str, Any]


class Change(NamedTuple):
    """One choice made otherwise."""

    to: Choices
    """The axis and its value."""
    given: Choices = {}
    """What else both sides of the difference choose, where the axis means nothing without it."""


CHANGES = (
    Change({"mask_pick": "single"}),
    Change({"mask_pick": "box_iou"}),
    Change({"mask_pick": "filled_box_iou"}),
    Change({"mask_pick": "oracle"}),
    Change({"refinement": 1}),
    Change({"box_source": "tight_last_pixel"}),
    Change({"box_source": "annotation"}),
    Change({"clip_boxes": False}, {"box_source": "annotation"}),
    Change({"seed": 1}),
    Change({"repeats": 3}),
    Change({"clicks": "centre"}),
    Change({"first_click": "approximately_deepest"}, CENTRE),
    Change({"first_click": "centre_of_mass"}, CENTRE),
    Change({"click_frame": "low_resolution"}, CENTRE),
    Change({"smallest_error": 10}, CENTRE),
    Change({"clicks": "ritm"}),
    Change({"tie": "background"}, RITM),
    Change({"click_again": False}, RITM),
    Change({"truth_raster": "frame"}),
    Change({"crowd": "keep"}),
    Change({"smallest_area": 1024.0}),
    Change({"averaging": "category"}),
)


def main(model: str = "efficientsam-ti-micro", limit: int | None = None, device: str = "cpu", out: Path = OUT) -> None:
    """Measure the effect of each axis of Table 4 on a model's mIoU and write the table.

    Args:
        model: Whose; a micro model.
        limit: Ask only the first images.
        device: Where it runs.
        out: Folder of axis_effects.md and axis_effects.csv.
    """
    kept = BoundedFolder(paths.cache_dir() / "embeddings", int(2e9))
    settings = replace(run_settings(limit, device), scale="micro", models=(model,), embeddings=kept)
    effects = pd.DataFrame([line for change in CHANGES for line in effect(change, settings)])
    out.mkdir(parents=True, exist_ok=True)
    effects.to_csv(out / "axis_effects.csv", index=False)
    command = f"python docs/axis_effects.py {shlex.join(sys.argv[1:])}".strip()
    (out / "axis_effects.md").write_text(page(effects, command, model), encoding="utf-8")


def effect(change: Change, settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the difference that a change makes, a line a column of Table 4 that it concerns."""
    (axis,) = change.to
    columns = tuple(key for key in COLUMNS if _concerns(axis, key))
    before = replace(PAPER, **change.given, columns=columns)
    first, images = scored(replace(before, **change.to), settings)
    second, _ = scored(before, settings)
    for column in columns:
        line = {"axis": axis, "value": shown(change.to[axis]), "instead": shown(getattr(before, axis))}
        line |= {"given": ", ".join(f"{name}={shown(value)}" for name, value in change.given.items())}
        line |= {"column": column, "images": images, "why": ""}
        if why := first.refused.get(column) or second.refused.get(column):
            yield line | {"difference": np.nan, "low": np.nan, "high": np.nan, "why": why}
        else:
            found = paired(of_column(first, column), of_column(second, column))
            yield line | {"difference": found.value, "low": found.low, "high": found.high}


def _concerns(axis: str, column: str) -> bool:
    """Whether a column's number can depend on an axis; the draws of random clicks are the paper's own noise."""
    return "click" in column if axis in ("seed", "repeats") else axis in table4.MATTERS[column]


def scored(axes: Axes, settings: Settings) -> tuple[Scores, int]:
    """Return a model's scores on COCO's layout of the dead leaves under some axes, and the number of images."""
    (asked,) = ask_tables([table4], replace(settings, axes=axes))
    ((data_set, runs),) = asked.question.runs.items()
    (run,) = runs.values()
    if isinstance(run, Refused):
        return Scores({}, None, dict.fromkeys(axes.columns or (), run.why)), 0
    return table4.score(run, asked.question.data[data_set]), len(run.image_ids)


def of_column(scores: Scores, column: str) -> pd.DataFrame:
    """Return image_id and value of the prompts behind a column."""
    return scores.basis[scores.basis["column"] == column]


def paired(first: pd.DataFrame, second: pd.DataFrame) -> Interval:
    """Return the difference of two means, first - second, with a 95 % interval from the same draws of images for both.

    The two may count different annotations of an image, as they do where the axis says which ones count.

    Args:
        first: columns image_id and value in 0..1, a row a prompt.
        second: the same.
    """
    images = np.union1d(first["image_id"], second["image_id"])
    sides = []
    for records in (first, second):
        member = np.searchsorted(images, records["image_id"])
        sums = np.bincount(member, records["value"], len(images))
        sides.append((sums, np.bincount(member, minlength=len(images))))
    drawn = np.concatenate(list(image_weights(len(images), REPLICATES, 0))).astype(float)  # [B, N]
    (one, other), (value, before) = (
        [(weights @ sums) / (weights @ counts) for sums, counts in sides] for weights in (drawn, np.ones(len(images)))
    )
    return percentile_interval(float(value - before), one - other, len(first), images=len(images))


def page(effects: pd.DataFrame, command: str, model: str) -> str:
    """Return the table as Markdown: a row a change, a column a prompt, differences in percent."""
    lines = [
        f"<!-- generated: {command} -->",
        f"mIoU of `{model}` on {effects['images'].max()} images of COCO's layout of the dead leaves: what the choice "
        "adds to the value before it, in points, with 95 % intervals over the same images. Made by",
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
    lines += ["", *(f"Not asked: {why}." for why in partly)]
    lines += [f"\nOf this model not measured: {', '.join(choices)}: {why}." for why, choices in silent.items()]
    return "\n".join(lines).rstrip() + "\n"


def _cell(line: Any) -> str:
    if line.why:
        return "not asked"
    value, low, high = (round(100 * one, 1) + 0.0 for one in (line.difference, line.low, line.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−")


if __name__ == "__main__":
    tyro.cli(main)
