"""`bench gallery RUN [RUN2]`: every instance of a run as a page: photo, truth, prompt, prediction, IoU."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from bench import paths
from bench.cli.run import OUT
from bench.data import Detections, ImageInfo, Instances
from bench.data.own import own_data
from bench.progress import notice, progress
from bench.thumbnails import thumbnail
from models.errors import BenchError
from protocols.inspect.gallery import FEW, Gallery, asked_again, gather, shown_photos
from protocols.inspect.gallery_detections import detector_boxes
from protocols.inspect.sides import Side, find_side, open_side, open_source, table_of
from reports import wording
from reports.gallery import PHOTOS, Head, check_page, write_gallery
from reports.write import check_folder


def gallery(
    first: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")],
    second: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN2")] = None,
    /,
    table: str = "table4",
    on: Literal["coco", "lvis"] = "coco",
    limit: int | None = None,
    masks: int | None = None,
    data: Annotated[str | None, tyro.conf.arg(metavar="FORMAT:FILE.json,FOLDER")] = None,
    device: str = "cpu",
    out: Path | None = None,
) -> None:
    """Look through the predictions of a stored run, or of two side by side, in a browser.

    Makes a page of every instance: photo, prompt, truth, prediction, IoU and predicted IoU, filtered by category, size,
    prompt and IoU, and sorted by IoU or by the difference of two runs. It opens without a server or a network, also
    with tens of thousands of instances: keep index.html together with the folders beside it.

        bench gallery efficientsam-ti-micro
        bench gallery sam-vit-h efficientsam-ti --table table5 --on lvis
        bench gallery 1f3a9c0e 77b2d4aa
        bench gallery mine.json --data coco:instances_val2017.json,val2017/

    Args:
        first: A run (fingerprint, its first characters, folder, or TABLE/MODEL[/DATA]), a model, of which the newest
            finished run is taken, or a COCO results file with masks.
        second: Another one, to be shown beside the first; instances that both have are shown.
        table: Of models: which of their runs. Runs of table2, table4, table5, clicks and robustness can be shown.
        on: Of models: the data set of their runs.
        limit: Show the first images alone.
        masks: Records of Table 4 hold no masks, so its models are asked again, about this many instances: those of the
            lowest IoU, or of the largest difference of two runs. By default all, if they are at most 500, else none.
        data: The annotations and photos that files, or runs on data of your own, are about.
        device: Where these models run.
        out: Folder of the page; by default reports/out/gallery-TABLE-DATA-RUN[-RUN2].
    """
    for option, value, least in (("--limit", limit, 1), ("--masks", masks, 0)):
        if value is not None and value < least:
            raise BenchError(f"{option} must be at least {least}, got {value}")
    own = None if data is None else own_data(data)
    found = [find_side(name, table, on) for name in (first, second) if name is not None]
    source = open_source(found, own, paths.data_root())
    if source is None:
        raise BenchError(
            f"the photos that {first} is about are not here: set BENCH_DATA, or give --data "
            "coco:ANNOTATIONS.json,IMAGES/"
        )
    sides = [open_side(one, source) for one in found]
    shown = gather(sides, source, limit, _boxes(sides[0]))
    folder = out if out is not None else OUT / _stem(shown)
    check_folder(folder)
    check_page(folder)
    again = asked_again(shown, masks)
    words = shlex.join(["bench", "gallery", *(name for name in (first, second) if name is not None)])
    with progress("gallery", total=len(shown.instances), unit="instances") as advance:
        photos = shown_photos(
            shown, source, _pictures(source, folder / PHOTOS), again=again, device=device, say=notice, advance=advance
        )
        page = write_gallery(_head(shown, source, len(again), words), photos, folder)
    notice(f"wrote {page}, {len(shown.instances):,} instances: open it in a browser")


def _boxes(side: Side) -> Detections | None:
    """Return the boxes that a run of Table 5 was asked about, where they are here."""
    roots = [paths.data_root(), table_of(side).micro_root()] if side.table == "table5" and side.model else []
    return detector_boxes(side, roots)


def _stem(shown: Gallery) -> str:
    sides = shown.sides
    names = " ".join(side.model or side.name for side in sides)
    if len(sides) == 2 and sides[0].model == sides[1].model:
        names = " ".join(side.name for side in sides)
    return "-".join(["gallery", sides[0].table, sides[0].data_set, *re.findall(r"[\w.]+", names)])[:150]


def _pictures(source: Instances, folder: Path) -> Callable[[ImageInfo], str]:
    """Return what makes the small picture of a photo and returns its file; "" where it cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)

    def picture(info: ImageInfo) -> str:
        name = f"{source.sha256[:8]}-{info.id}.webp"
        try:
            thumbnail(info.path, (info.height, info.width), folder / name)
        except BenchError as problem:
            notice(f"not shown: {problem}")
            return ""
        return name

    return picture


def _head(shown: Gallery, source: Instances, asked: int, command: str) -> Head:
    sides = shown.sides
    of = set(shown.instances["category_id"])
    return Head(
        title=f"{' and '.join(side.model or side.name for side in sides)}: {sides[0].table} on {source.name.upper()}",
        sides=tuple(side.name for side in sides),
        estimate=shown.estimate,
        categories={key: name for key, name in source.categories.items() if key in of},
        facts=tuple(_facts(shown, source)),
        notes=(*shown.notes, *_without_masks(shown, asked)),
        command=command,
    )


def _facts(shown: Gallery, source: Instances) -> Iterator[tuple[str, str]]:
    for letter, side in zip("AB", shown.sides, strict=False):
        yield letter if len(shown.sides) == 2 else "run", f"{side.name}, {table_of(side).TITLE}"
    yield "data", f"{source.annotation_path.name}, sha256 {source.sha256}"
    columns = {column.key: column for column in table_of(shown.sides[0]).COLUMNS}
    for key, one in shown.headline.items():
        percent: Any = columns[key].percent
        interval = wording.bracket(one.low, one.high, percent, sign=True)
        yield f"{columns[key].label}, A - B", f"{wording.signed(one.value, percent)} {interval}"


def _without_masks(shown: Gallery, asked: int) -> Iterator[str]:
    """Say of how many instances no mask is shown, and how to see more."""
    total = len(shown.instances)
    if "counts_first" in shown.instances or asked == total:
        return
    if shown.sides[0].table != "table4":
        yield f"records of {shown.sides[0].table} hold no masks: truth and numbers are shown"
    else:
        yield (
            f"records of table4 hold no masks: models were asked again about {asked:,} of {total:,} instances, "
            f"--masks N asks about more (by default about all if they are at most {FEW})"
        )
