"""`bench compare A B`: two runs, models or files of masks, instance by instance."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench import paths
from bench.cli.as_json import AsJson, print_json
from bench.cli.run import OUT
from bench.data import Annotation, ImageInfo, Instances, read_rgb
from bench.data.own import own_data
from bench.instance_pictures import Answers, pictures_of
from bench.metrics.interval import Interval
from bench.progress import notice, progress
from bench.store.disk import write_whole
from models.annotations import decode
from models.errors import BenchError, printable
from protocols.inspect.compare import Paired, Slice, changed_most, compare, slices, tally
from protocols.inspect.sides import find_side, open_side, open_source, table_of
from reports import wording
from reports.paired_plot import paired_picture
from reports.sheet import Picture, sheet
from reports.write import check_folder, plain

PICTURES = 6
"""Instances on the picture sheet, at most."""


def compare_two(
    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")],
    second: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")],
    /,
    table: str = "table4",
    on: Literal["coco", "lvis"] = "coco",
    top: int = 10,
    data: Annotated[str | None, tyro.conf.arg(metavar="FORMAT:FILE.json,FOLDER")] = None,
    pictures: bool = True,
    device: str = "cpu",
    fail_if_worse: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    out: Path = OUT,
    as_json: AsJson = False,
) -> None:
    """Compare two stored runs, two models or two files of masks, object by object.

    Prints the paired difference A - B with its 95 % interval over images: as the table has it, and by prompt, size
    class and category; then the instances that changed most. Writes all instances (CSV), their differences (PNG) and a
    sheet of pictures (PNG): photo and prompt, truth, A's mask, B's mask.

        bench compare sam-micro efficientsam-ti-micro
        bench compare sam-vit-h efficientsam-ti --table table5 --on lvis
        bench compare 1f3a9c0e 77b2d4aa
        bench compare mine.json theirs.json --data coco:instances_val2017.json,val2017/

    Exit code: 0, or with --fail-if-worse 1 where a column of A is worse than B's by its interval.

    Args:
        first: A run (fingerprint, its first characters, folder, or TABLE/MODEL[/DATA]), a model, of which the newest
            finished run is taken, or a COCO results file with masks.
        second: The same of B.
        table: Of models: which of their runs. Runs of table4, table5, clicks and robustness can be compared.
        on: Of models: the data set of their runs.
        top: How many of the instances that changed most are listed.
        data: The annotations and photos that files, or runs on data of your own, are about.
        pictures: Make the sheet. Records of Table 4 hold no masks, so its models are asked again about the instances
            shown, at most six.
        device: Where these models run.
        fail_if_worse: End with exit code 1 where A is worse.
        out: Folder of the files.
        as_json: Print the numbers as JSON in place of tables.
    """
    if top < 1:
        raise BenchError(f"--top must be at least 1, got {top}")
    check_folder(out)
    own = None if data is None else own_data(data)
    found = [find_side(name, table, on) for name in (first, second)]
    source = open_source(found, own, paths.data_root())
    one, other = (open_side(side, source) for side in found)
    paired = compare(one, other, source)
    parts = slices(paired, {} if source is None else source.categories)
    most = _named(changed_most(paired, top), source)
    files = _write(paired, most, source, out, device if pictures else None)
    if as_json:
        print_json([_as_json(paired, parts, most)])
    else:
        _print(paired, parts, most)
    for file in files:
        notice(f"wrote {file}")
    if fail_if_worse and (worse := worse_columns(paired)):
        notice(f"A is worse than B: {', '.join(worse)}")
        raise SystemExit(1)


def worse_columns(paired: Paired) -> list[str]:
    """Return the columns, by their keys, in which the interval of A - B lies on the worse side of 0."""
    less = {column.key for column in table_of(paired.first).COLUMNS if column.less}
    return [key for key, one in paired.headline.items() if (one.low > 0 if key in less else one.high < 0)]


def _named(instances: pd.DataFrame, source: Instances | None) -> pd.DataFrame:
    """Add the names of images and categories, as far as they are known."""
    files = {} if source is None else {info.id: info.path.name for info in source.images}
    names = {} if source is None else source.categories
    return instances.assign(
        image=[files.get(one, str(one)) for one in instances["image_id"]],
        category=[names.get(one, str(one)) for one in instances["category_id"]],
    )


def _as_json(paired: Paired, parts: Sequence[Slice], most: pd.DataFrame) -> dict[str, Any]:
    masks = [name for name in most if str(name).startswith("counts")]
    whole = {
        "first": paired.first.name,
        "second": paired.second.name,
        "table": paired.first.table,
        "data": paired.first.data_set,
        "notes": paired.notes,
        "columns": {key: one._asdict() for key, one in paired.headline.items()},
        "better": tally(paired),
        "slices": [
            {"by": one.by, "group": one.group, "first": one.first, "second": one.second, **one.difference._asdict()}
            for one in parts
        ],
        "changed_most": most.drop(columns=masks).to_dict("records"),
    }
    return plain(whole)  # type: ignore[no-any-return]


def _print(paired: Paired, parts: Sequence[Slice], most: pd.DataFrame) -> None:
    """Print the table's own comparison, the slices and the instances that changed most."""
    console = Console()
    better = tally(paired)
    _line(console, f"A: {paired.first.name}, B: {paired.second.name}; {paired.first.table} on {paired.first.data_set}")
    for note in paired.notes:
        _line(console, f"note: {note}")
    columns = {column.key: column for column in table_of(paired.first).COLUMNS}
    whole = [
        (columns[key].label, f"{one.n:,}", *_difference(one, percent=columns[key].percent))
        for key, one in paired.headline.items()
    ]
    _table(console, "as the table has it", ("column", "n", "A - B", "95 % interval"), whole)
    rows = [
        (one.by, one.group, f"{one.difference.n:,}", wording.number(one.first), wording.number(one.second),
         *_difference(one.difference))
        for one in parts
    ]  # fmt: skip
    _table(console, "IoU by instance", ("by", "", "n", "A", "B", "A - B", "95 % interval"), rows)
    total = sum(better.values())
    _line(console, f"A is better on {better['first']:,} of {total:,} instances, B on {better['second']:,}")
    listed = [
        (one["image"], str(one["annotation_id"]), one["category"], one["size"], _prompt(one),
         wording.number(one["first"]), wording.number(one["second"]), wording.signed(one["difference"]))
        for one in most.to_dict("records")
    ]  # fmt: skip
    _table(console, "changed most", ("image", "object", "category", "size", "prompt", "A", "B", "A - B"), listed)
    apart = sum(one.by == "category" and (one.difference.low > 0 or one.difference.high < 0) for one in parts)
    if count := sum(one.by == "category" for one in parts):
        _line(console, f"{apart} of {count} categories have an interval without 0; by chance alone 1 in 20 would")


def _line(console: Console, text: str) -> None:
    console.print(Text(printable(text)), soft_wrap=True, highlight=False)


def _table(console: Console, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left", box=None)
    for head in heads:
        table.add_column(head, justify="right" if head in ("n", "A", "B", "A - B") else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def _difference(one: Interval, *, percent: bool = True) -> tuple[str, str]:
    return wording.signed(one.value, percent), wording.bracket(one.low, one.high, percent, sign=True)


def _prompt(instance: Mapping[Any, Any]) -> str:
    return instance["prompt"] + (f" #{instance['repeat']}" if instance["repeat"] else "")


def _write(paired: Paired, most: pd.DataFrame, source: Instances | None, out: Path, device: str | None) -> list[Path]:
    """Write all instances, their plot and, where a device is given and the photos are here, the sheet."""
    names = (paired.first.model or paired.first.name, paired.second.model or paired.second.name)
    if names[0] == names[1]:
        names = (paired.first.name, paired.second.name)
    stem = "-".join(["compare", paired.first.table, paired.first.data_set, *re.findall(r"[\w.]+", " ".join(names))])
    rows = paired.instances.drop(columns=[name for name in paired.instances if str(name).startswith("counts")])
    contents = {
        f"{stem}.csv": rows.to_csv(index=False, lineterminator="\n").encode(),
        f"{stem}.png": paired_picture(paired.instances, *names),
    }
    if device is not None and source is None:
        notice("no picture sheet: the photos are not here, set BENCH_DATA or give --data")
    elif device and source and (shown := list(_pictures(paired, most.head(PICTURES), source, names, device))):
        contents[f"{stem}-sheet.png"] = sheet(shown)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(out / name, content, variable="--out")
    return [out / name for name in contents]


def _pictures(
    paired: Paired, most: pd.DataFrame, source: Instances, names: tuple[str, str], device: str
) -> Iterator[list[Picture]]:
    """Yield the line of the sheet of each instance: prompt, truth, A's mask, B's mask."""
    infos = {info.id: info for info in source.images}
    answers = _masks_of_records if "counts_first" in most else _masks_asked_again(paired, source, device)
    with progress("pictures", total=len(most), unit="instances") as advance:
        for instance in most.to_dict("records"):
            info = infos[instance["image_id"]]
            try:
                photo = read_rgb(info.path, size=(info.height, info.width))
            except BenchError as unreadable:
                notice(f"not shown: {unreadable}")
                advance(1)
                continue
            objects = {one.id: one for one in source.annotations(info.id, with_empty=True)}
            annotation = objects[instance["annotation_id"]]
            words = [
                f"{instance['image']} {annotation.id}, {instance['category']}, {_prompt(instance)}",
                "truth",
                f"{wording.short_name(names[0])} {wording.number(instance['first'])}",
                f"{wording.short_name(names[1])} {wording.number(instance['second'])}",
            ]
            truth = annotation.mask(info.height, info.width)
            pictures = pictures_of(photo, truth, answers(instance, photo, info, annotation))
            yield list(zip(map(printable, words), pictures, strict=True))
            advance(1)


def _masks_of_records(
    instance: Mapping[Any, Any], photo: np.ndarray, info: ImageInfo, annotation: Annotation
) -> Answers:
    """Return the masks that records hold; an empty one where there was none of the object's category."""
    empty = np.zeros((info.height, info.width), bool)
    size = [info.height, info.width]
    texts = (instance["counts_first"], instance["counts_second"])
    masks = [decode({"size": size, "counts": text}) if text else empty for text in texts]
    return Answers(first=masks[0], second=masks[1])


def _masks_asked_again(paired: Paired, source: Instances, device: str) -> Any:
    """Return what asks both models again; what cannot be asked again is said, and shown without masks."""
    from protocols.inspect.asked_again import model_of, recorded_answer  # torch takes seconds to import

    models = [model_of(side, device, notice) for side in (paired.first, paired.second)]

    def answers(instance: Mapping[Any, Any], photo: np.ndarray, info: ImageInfo, annotation: Annotation) -> Answers:
        found = Answers()
        for which, side, model in zip(("first", "second"), (paired.first, paired.second), models, strict=True):
            if model is None:
                continue
            asked = recorded_answer(
                model, side, photo, info, annotation,
                prompt=instance["prompt"], repeat=instance["repeat"], iou=instance[which], say=notice,
            )  # fmt: skip
            if asked is not None:
                known: dict[str, Any] = {
                    which: asked.mask,
                    **_prompts(asked.prompts.points[0], asked.prompts.labels[0]),
                }
                found = replace(found, **known)
        return found

    return answers


def _prompts(points: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return a prompt, points [K, 2] and labels [K], as the sheet draws it."""
    if 2 in labels:
        return {"boxes_xyxy": (tuple(points[:2].ravel().tolist()),)}
    pairs = zip(points.tolist(), labels.tolist(), strict=True)
    return {"clicks": tuple((x, y, label) for (x, y), label in pairs if label in (0, 1))}
