"""Table 1: ImageNet-1K top-1 of finetuned classifiers (section 4.2).

How records are made is protocols/classification.py; this is what they mean.
"""

from __future__ import annotations

import pandas as pd

from bench.metrics.interval import Interval, mean_interval, paired_mean_interval
from protocols.results import Column
from protocols.scores import CellRun, Scores

NAME = "table1"
VERSION = 1
"""Changes when scoring or the models' input changes."""
TITLE = "Image classification, ImageNet-1K top-1 (Table 1)"
COLUMNS = (Column("top1", "top-1", "ImageNet-1K"),)
ANSWERS = tuple(f"answer{k}" for k in range(1, 6))
"""Columns of the five likeliest classes, the likeliest first."""
RECORD_TYPES = {
    "image_id": "int64",
    "file": "str",
    "label": "int64",
    **dict.fromkeys(ANSWERS, "int64"),
    "correct": "bool",
}


def score(run: CellRun) -> Scores:
    """Return top-1 in 0..1 with its interval."""
    records = run.records
    interval = mean_interval(records["correct"].to_numpy(float), records["image_id"].to_numpy())
    return Scores({"top1": interval}, records[["image_id", "correct"]])


def compare(first: Scores, second: Scores) -> dict[str, Interval]:
    """Return the paired difference of top-1, first - second, over the same images."""
    both = first.basis.merge(second.basis, on="image_id", suffixes=("", "_second"), validate="1:1")
    values = (both["correct"].to_numpy(float), both["correct_second"].to_numpy(float))
    return {"top1": paired_mean_interval(*values, both["image_id"].to_numpy())}


def top5(records: pd.DataFrame) -> float:
    """Return the share of images whose class is among the five likeliest."""
    return float(records[list(ANSWERS)].eq(records["label"], axis=0).any(axis=1).mean())
