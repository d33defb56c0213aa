"""`bench data`: what is on disk, whole or not, and what to download from where."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from bench import data, paths
from bench.cli.as_json import AsJson, print_json
from bench.data.catalog import set_names
from bench.data.dead_leaves import world_root
from bench.data.dead_leaves.ade20k import ade20k_root
from bench.data.dead_leaves.detection import detection_root
from bench.data.dead_leaves.imagenet import imagenet_root
from bench.data.fetch import announce, downloads_of, instructions, is_there, require_room
from bench.data.fetch import fetch as fetch_one
from bench.progress import bytes_progress
from models.errors import BenchError, printable, unknown_name

IN_PART = "NOT SOUND (what is named here is left out)"


def verify(
    names: tyro.conf.Positional[tuple[str, ...]] = ("coco", "lvis"), root: Path | None = None, as_json: AsJson = False
) -> None:
    """Check data sets: layout, counts, image files, and hashes where any were published.

    Args:
        names: coco, lvis, coco-boxes, lvis-boxes, ade20k, imagenet, sa1b or salient; or your own, written
            coco:ANNOTATIONS.json,IMAGES/ or lvis:ANNOTATIONS.json,IMAGES/ as for `bench run --data`.
        root: Folder of the data sets; $BENCH_DATA if not given.
        as_json: Print what was found as JSON.
    """
    for name in names:
        if ":" not in name and name not in set_names():
            raise _no_set(name)
    anywhere = all(":" in name for name in names)  # data of one's own
    folder = Path.cwd() if anywhere else _root(root, "; `bench run --scale micro` needs none")
    reports = [data.verify(name, folder) for name in names]
    if as_json:
        print_json(reports)
    else:
        _print(reports)
    if not all(report.ok for report in reports):
        raise SystemExit(1)


def fetch(
    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAME ...")],
    /,
    root: Path | None = None,
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Download data sets, unpack them and check them; the same command goes on where an earlier one was stopped.

    Says first what comes from where, how large it is and what room it needs. Files are checked by sha256 where one is
    known, archives are unpacked beside their place and moved there when they are whole, and nothing that is there is
    overwritten. SA-1B and ImageNet are given to people with an account alone: for these it says what to do.

    Args:
        names: coco, lvis, coco-boxes, lvis-boxes or ade20k; of imagenet, sa1b and salient it says what to do.
        root: Folder of the data sets; $BENCH_DATA if not given.
        dry_run: Say what would be downloaded, and download nothing.
    """
    if not names:
        raise BenchError("name the data sets to fetch, e.g. `bench data fetch coco coco-boxes`")
    folder = _root(root, "")
    downloads = downloads_of(names)
    for line in (line for name in dict.fromkeys(names) for line in instructions(name, folder)):
        print(printable(line))
    wanted = [download for download in downloads if not is_there(download, folder)]
    for line in announce(wanted, folder) if wanted else []:
        print(printable(line))
    sys.stdout.flush()
    require_room(wanted, folder)
    if dry_run:
        return
    wrong: list[BenchError] = []
    for download in downloads:
        try:
            fetch_one(download, folder, bytes_progress)
        except BenchError as error:
            wrong.append(error)
    if wrong:
        raise BenchError("; ".join(map(str, wrong)))
    verify(tuple(dict.fromkeys(names)), folder)


def _no_set(name: str) -> BenchError:
    """Return the error for a name that is no data set's, which may be a file of the user's own."""
    if ".json" in name:
        return BenchError(
            f"'{name}' is no data set: your own are written coco:FILE.json,FOLDER or lvis:FILE.json,FOLDER"
        )
    return unknown_name("data set", name, set_names())


def _root(root: Path | None, hint: str) -> Path:
    """Return the folder of the data sets."""
    folder = root or paths.data_root()
    if folder is None:
        raise BenchError(f"no data folder: set BENCH_DATA or give --root{hint}")
    return folder.absolute()


def _print(reports: Sequence[data.VerifyReport]) -> None:
    for report in reports:
        word = "complete" if report.complete else "usable" if report.ok else IN_PART if report.opens else "NOT USABLE"
        print(f"{printable(report.name)}: {word}")
        for line in report.lines:
            print(f"  {printable(line)}")


WORLDS: dict[str, Callable[[], Path]] = {
    "coco": world_root,
    "detection": detection_root,
    "ade20k": ade20k_root,
    "imagenet": imagenet_root,
}
"""Dead leaves by what they are asked for; LVIS comes with coco (Table 4) and with detection (Tables 2 and 5)."""


def render(names: tyro.conf.Positional[tuple[str, ...]] = tuple(WORLDS)) -> None:
    """Draw the dead leaves, the micro scale's data, into the cache and say where they are.

    Args:
        names: coco (with lvis), detection (coco and lvis again), ade20k and imagenet; all if none is named.
    """
    strangers = [name for name in names if name not in WORLDS]
    if strangers:
        raise unknown_name("world", strangers[0], WORLDS)
    for name in names:
        print(WORLDS[name]())


def cache_features(
    teacher: tyro.conf.Positional[str], /, out: Path = Path("training"), weights: Path | None = None
) -> None:
    """Cache a micro teacher's features for every crop of pretraining; training reads them instead of asking it.

    Args:
        teacher: sam-micro or clip-micro.
        out: Folder of all trainings; the features go to <out>/features-<teacher>.
        weights: Folder of the committed weights, if not this package's.
    """
    from bench.training import features, options  # training's imports take a second

    own: dict[str, Any] = {} if weights is None else {"weights": weights}
    features.cache_features(teacher, options.Options(out=out, **own))
