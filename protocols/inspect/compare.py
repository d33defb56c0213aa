"""Two runs about the same objects, instance by instance: what differs, where, and by how much; no torch.

An instance is a prompt about an object, and its number the IoU. Where runs hold masks of detections (Table 5, files of
masks), it is an object, and its number the best IoU that a mask of its category reaches there: average best overlap,
which asks for no threshold and no score (Uijlings et al. 2013, section 5.1). Differences are A - B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from pycocotools import mask as coco_rle

from bench.data import Instances
from bench.data.masks import to_rle
from bench.metrics.interval import Interval, paired_mean_interval
from models.errors import BenchError
from protocols.axes import in_effect
from protocols.chosen import NAMES, shown
from protocols.data_set import DataSet
from protocols.inspect.sides import Side, table_of
from protocols.masks_file import PREFIX
from protocols.scores import CellRun
from protocols.shards import asked_about
from protocols.table4 import counted

KEYS = ["image_id", "annotation_id", "prompt", "repeat"]
"""What tells an instance from others."""
OF_OBJECT = ["category_id", "area", "iscrowd"]
SIZES = {"small": 32.0**2, "medium": 96.0**2, "large": np.inf}
"""Size classes and the areas, px, that they end before: COCO's, by the annotation's area."""
OBJECT = "object"
"""The prompt of an instance that is an object."""
WITHOUT_ESTIMATE = frozenset({"", "detector", "floor", "ceiling"})
"""Models whose records hold 1 in place of an estimate of their IoU; a file of masks is called ""."""
OF_ANSWERS = frozenset({"mask_pick", "refinement", "precision"})
"""Axes that change answers, and neither prompts nor what answers are compared with."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some instances: their means and the paired difference, in 0..1."""

    by: str
    """What they have in common: prompt, size or category; "all"."""
    group: str
    first: float
    second: float
    difference: Interval
    """A - B over images; n instances."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Two sides on the instances that both have."""

    first: Side
    second: Side
    instances: pd.DataFrame
    """`KEYS`, `OF_OBJECT`, size, first, second, difference, predicted_iou_first and _second; of masks also counts_first
    and _second."""
    headline: dict[str, Interval]
    """The table's own comparison, by the key of its column: A - B."""
    notes: tuple[str, ...]
    """In what else than their numbers the two differ."""


def compare(first: Side, second: Side, source: Instances | None) -> Paired:
    """Pair two sides instance by instance.

    Args:
        first: A.
        second: B.
        source: what both are about; None where it is not on this machine and records alone suffice.

    Raises:
        BenchError: if they are about different tables or data, share no instance, or hold no IoU and no masks.
    """
    _check(first, second)
    images = first.asked & second.asked
    tables = [instances_of(side, source, images) for side in (first, second)]
    both = tables[0].merge(tables[1].drop(columns=OF_OBJECT), on=KEYS, suffixes=("_first", "_second"), validate="1:1")
    if both.empty:
        raise BenchError(f"{first.name} and {second.name} share no instance: compare runs with the same prompts")
    both = both.rename(columns={"value_first": "first", "value_second": "second"})
    both["difference"] = both["first"] - both["second"]
    both["size"] = size_classes(both["area"])
    notes = (*_notes(first, second), *_left_out(first, second, tables, both))
    return Paired(first, second, both, _headline(first, second, source, images, both), notes)


def _check(first: Side, second: Side) -> None:
    if first.table != second.table:
        raise BenchError(
            f"{first.name} is of {first.table} and {second.name} of {second.table}, which are asked otherwise: compare "
            "two of one table"
        )
    if first.data_set != second.data_set or first.origin["data"]["sha256"] != second.origin["data"]["sha256"]:
        raise BenchError(
            f"{first.name} and {second.name} are about different data ({_data(first)} and {_data(second)}): compare "
            "two of the same"
        )


def _data(side: Side) -> str:
    return f"{side.data_set} {str(side.origin['data']['sha256'])[:8]}"


def _notes(first: Side, second: Side) -> Iterator[str]:
    """Say in what the two differ besides their models."""
    if first.origin == second.origin and first.axes == second.axes:
        yield "both are the same run: every difference is 0"
    versions = [side.origin.get("version") for side in (first, second)]
    if versions[0] != versions[1] and None not in versions:
        yield f"of different versions of {first.table}'s protocol: {versions[0]} and {versions[1]}"
    one, other = (in_effect(side.axes, NAMES) for side in (first, second))
    for name in NAMES:
        if name != "columns" and one.get(name) != other.get(name):
            values = " and ".join(shown(part[name]) if name in part else "nothing" for part in (one, other))
            what = "answered otherwise" if name in OF_ANSWERS else "not asked or scored alike"
            yield f"{what}: {name} is {values}"
    boxes = [side.origin["data"].get("boxes") for side in (first, second)]
    if boxes[0] != boxes[1] and None not in boxes:
        yield "they start from different boxes"
    names = {side.model for side in (first, second)}
    if len(names) == 1 and first.origin.get("code") != second.origin.get("code"):
        yield "the model is the same, its code or a library is not"


def _left_out(first: Side, second: Side, tables: list[pd.DataFrame], both: pd.DataFrame) -> Iterator[str]:
    for side, other, table in zip((first, second), (second, first), tables, strict=True):
        if lost := len(side.asked - other.asked):
            yield f"{lost:,} of {len(side.asked):,} images of {side.name} are not compared: {other.name} lacks them"
        if lost := len(table) - len(both):
            yield f"{lost:,} of {len(table):,} instances of {side.name} are not compared: {other.name} lacks them"


def instances_of(side: Side, source: Instances | None, images: frozenset[int]) -> pd.DataFrame:
    """Return the instances of one side: `KEYS`, `OF_OBJECT`, value, predicted_iou; of masks also counts.

    Args:
        side: a run or a file of masks.
        source: what it is about; None where it is not on this machine and records alone suffice.
        images: those whose instances are meant.

    Returns:
        value is the IoU, predicted_iou the model's own estimate, NaN where it has none; of masks both are those of the
        mask that overlaps the object best, and counts are its compressed run lengths.

    Raises:
        BenchError: if its records hold no IoU and no masks, or masks whose objects are not on this machine.
    """
    records = with_estimates(side)
    if holds_masks(records) or not len(records):
        if source is None:
            raise BenchError(
                f"the annotations that {side.name} is about are not here: set BENCH_DATA, or give --data "
                "coco:ANNOTATIONS.json,IMAGES/"
            )
        return best_overlaps(records, source, images)
    if "iou" not in records or "annotation_id" not in records:
        raise BenchError(
            f"{side.name}: records of {side.table} hold no IoU of single objects and no masks: take runs of table4, "
            "table5, clicks or robustness"
        )
    records = counted(with_prompts(records), side.axes)
    columns = [*KEYS, *OF_OBJECT, "iou", "predicted_iou"]
    return records.loc[records["image_id"].isin(images), columns].rename(columns={"iou": "value"})


def with_estimates(side: Side) -> pd.DataFrame:
    """Return the records of a side, with NaN as `predicted_iou` where what made them has no estimate of its IoU."""
    if side.model in WITHOUT_ESTIMATE or side.model.startswith(f"{PREFIX}:") or "predicted_iou" not in side.records:
        return side.records.assign(predicted_iou=np.nan)
    return side.records


def holds_masks(records: pd.DataFrame) -> bool:
    """Return whether records are masks of detections, which belong to no object."""
    return "counts" in records and "annotation_id" not in records


def size_classes(areas: pd.Series) -> pd.Series:
    """Return the names of the size classes (`SIZES`) of areas, px."""
    return pd.cut(areas, [-np.inf, *SIZES.values()], labels=list(SIZES), right=False).astype(str)


def with_prompts(records: pd.DataFrame) -> pd.DataFrame:
    """Return records with the columns `prompt` and `repeat`, whatever table they are of, without refused prompts."""
    if "refused" in records:
        records = records[records["refused"] == ""]
    if "prompt" not in records:
        records = records.assign(prompt=records["click"].astype(str) + "click")
    return records if "repeat" in records else records.assign(repeat=0)


def best_overlaps(records: pd.DataFrame, source: Instances, images: frozenset[int]) -> pd.DataFrame:
    """Return for each object but crowds the best IoU that a mask of its category reaches, 0 where there is none.

    Args:
        records: image_id, category_id, predicted_iou and counts (compressed RLE) of each mask.
        source: the objects.
        images: the images that count.
    """
    by_image = dict(list(records.groupby("image_id"))) if len(records) else {}
    rows: list[dict[str, object]] = []
    for image_id in sorted(images):
        size = source.sizes[image_id]
        objects = [one for one in source.annotations(image_id) if not one.iscrowd]
        found = by_image.get(image_id, records.iloc[:0])
        for one in objects:
            near = found[found["category_id"] == one.category_id] if len(found) else found
            rows.append(
                {
                    "image_id": image_id, "annotation_id": one.id, "prompt": OBJECT, "repeat": 0,
                    "category_id": one.category_id, "area": one.area, "iscrowd": False,
                    **_best_overlap(near, to_rle(one.segmentation, *size), size),
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=[*KEYS, *OF_OBJECT, "value", "predicted_iou", "counts"])


def _best_overlap(records: pd.DataFrame, truth: dict[str, object], size: tuple[int, int]) -> dict[str, object]:
    """Return what is known of the mask that overlaps an object best: IoU 0 and no mask where there are none."""
    if not len(records):
        return {"value": 0.0, "predicted_iou": np.nan, "counts": ""}
    counts = records["counts"].tolist()
    masks = [{"size": list(size), "counts": text.encode()} for text in counts]
    ious = np.asarray(coco_rle.iou(masks, [truth], [0]))[:, 0]
    best = int(ious.argmax())
    predicted = float(records["predicted_iou"].iloc[best])
    return {"value": float(ious[best]), "predicted_iou": predicted, "counts": counts[best]}


def _headline(
    first: Side, second: Side, source: Instances | None, images: frozenset[int], both: pd.DataFrame
) -> dict[str, Interval]:
    """Return the table's own paired comparison over what both have, of the columns that have a number there."""
    table = table_of(first)
    common = pd.MultiIndex.from_frame(both[KEYS])
    scores = []
    for side in (first, second):
        records = side.records[side.records["image_id"].isin(images)]
        if "annotation_id" in records:
            keys = pd.MultiIndex.from_frame(with_prompts(records)[KEYS])
            records = with_prompts(records)[keys.isin(common)]
        ids = tuple(sorted(images))
        scores.append(table.score(CellRun(records, "", 0, ids, {}), _data_set(side, source)))
    return {key: one for key, one in table.compare(*scores).items() if not np.isnan(one.value)}


def _data_set(side: Side, source: Instances | None) -> DataSet:
    images = () if source is None else source.images
    return DataSet(
        name=side.data_set,
        source=source,
        sha256=str(side.origin["data"]["sha256"]),
        truth={},
        asked=asked_about(images),
        of_images=len(images),
        axes=side.axes,
    )


def slices(paired: Paired, categories: dict[int, str]) -> list[Slice]:
    """Return the paired difference of all instances, and of those of each prompt, size class and category.

    Args:
        paired: the instances.
        categories: names by id; those that have none are shown by their id.
    """
    named = paired.instances["category_id"].map(lambda one: categories.get(int(one), str(one)))
    rows = paired.instances.assign(category=named)
    several = rows["prompt"].nunique() > 1
    found = [_slice("all", "" if not several else "all prompts", rows)]
    sizes: Callable[[object], int] = partial(list(SIZES).index)  # type: ignore[assignment]
    for by in [*(["prompt"] if several else []), "size", "category"]:
        groups = {str(group): part for group, part in rows.groupby(by, sort=True)}
        found += [_slice(by, group, groups[group]) for group in sorted(groups, key=sizes if by == "size" else None)]
    return found


def _slice(by: str, group: str, rows: pd.DataFrame) -> Slice:
    first, second = (rows[name].to_numpy(dtype=np.float64) for name in ("first", "second"))
    interval = paired_mean_interval(first, second, rows["image_id"].to_numpy())
    return Slice(by, group, float(first.mean()), float(second.mean()), interval)


def changed_most(paired: Paired, top: int) -> pd.DataFrame:
    """Return the instances of the largest differences, whichever side is better; of equals the first."""
    order = paired.instances["difference"].abs().sort_values(ascending=False, kind="stable").index
    return paired.instances.loc[order[:top]]


def tally(paired: Paired) -> dict[str, int]:
    """Return on how many instances A is better, B is, and neither."""
    signs = np.sign(paired.instances["difference"])
    return {"first": int((signs > 0).sum()), "second": int((signs < 0).sum()), "equal": int((signs == 0).sum())}
