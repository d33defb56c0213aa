"""Download published data sets into the layout that `verify` checks, from wherever an earlier attempt was stopped.

An archive is downloaded and unpacked in `.fetching`, a folder beside what it holds; only what is whole moves out of
there, by renaming. What a user has already is never overwritten.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.data.archives import unpack
from bench.data.catalog import FOLDER_SETS, SALIENT, Download, published_sets, set_names
from bench.data.salient import WAY_TO_GET
from bench.store.disk import sweep
from bench.store.locks import acquire, holder
from models.errors import BenchError, refused, unknown_name
from models.files import transfer
from models.files.transfer import Remote, ShowBytes, in_words

WORKSHOP = ".fetching"
"""Folder of what is not whole yet."""
IMAGES = (".jpg", ".png")
"""Endings of the files that published folders hold."""


def downloads_of(names: Sequence[str]) -> list[Download]:
    """Return what there is to download for some data sets, each file once, small ones first.

    Raises:
        BenchError: for a name that is no data set.
    """
    sets = published_sets()
    for name in names:
        if name not in set_names():
            raise unknown_name("data set", name, set_names())
    found = dict.fromkeys(download for name in names if name in sets for download in sets[name].downloads)
    return sorted(found, key=_bytes)


def instructions(name: str, root: Path) -> list[str]:
    """Return what to do for a data set that cannot be downloaded from here, empty for others."""
    if name == SALIENT:
        return [f"{name} is not downloaded from here: in {root}, {WAY_TO_GET.replace(' there', '')}"]
    published = FOLDER_SETS.get(name)
    steps = published.steps if published else ()
    places = {"folder": shlex.quote(str(root / name)), "root": shlex.quote(str(root))}
    lines = [f"{name} is given to people with an account alone:"] if steps else []
    for number, step in enumerate(steps, 1):
        sentence, *command = step.format(**places).split("\n")
        lines += [f"  {number}. {sentence}", *(f"       {line}" for line in command)]
    return lines


def is_there(download: Download, root: Path) -> bool:
    """Return whether all that a download leaves is in its place."""
    return all(_has(root / download.folder / place, count) for place, count in download.leaves)


def announce(wanted: Sequence[Download], root: Path) -> list[str]:
    """Say what is to be downloaded from where, how large it is, and what room it needs."""
    guessed = any(download.bytes is None for download in wanted)
    total = sum(_bytes(download) - _arrived(download, root) for download in wanted)
    most, after = _room(wanted, root)
    places = [f"{in_words(shutil.disk_usage(place).free)} at {place}" for place in _disks(wanted, root)]
    return [
        *(_line(download, root) for download in wanted),
        f"to download: {'about ' if guessed else ''}{in_words(total)}; on disk at most about {in_words(most)} while "
        f"archives are unpacked, {in_words(after)} afterwards; free: {', '.join(places)}",
    ]


def require_room(wanted: Sequence[Download], root: Path) -> None:
    """Raise a BenchError if a disk has too little room for what is to be downloaded to it."""
    for place, downloads in _disks(wanted, root).items():
        most, _ = _room(downloads, root)
        transfer.require_room(place, most, "all this")


def fetch(download: Download, root: Path, show: ShowBytes) -> None:
    """Download one file into its place, an archive unpacked.

    Raises:
        BenchError: if the address cannot be reached, the file is not the published one, the archive is damaged or
            hostile, the disk is full, or another process is fetching it. The next call goes on where this one stopped.
    """
    folder = root / download.folder
    workshop = folder / WORKSHOP
    if is_there(download, root) and not workshop.exists():
        return
    try:
        workshop.mkdir(parents=True, exist_ok=True)
        with _alone(workshop / f"{download.name}.lock"):
            if not is_there(download, root):
                _bring(download, folder, workshop, show)
                if not is_there(download, root):
                    raise _still_missing(download, root)
            _tidy(download, workshop)
        sweep(workshop)
        with suppress(OSError):  # others may be at work in it
            workshop.rmdir()
    except OSError as error:
        raise refused(error, workshop) from error


def _bring(download: Download, folder: Path, workshop: Path, show: ShowBytes) -> None:
    arrived = workshop / download.name
    remote = Remote(download.url, download.bytes, download.sha256)
    if arrived.is_file():  # whole when it got this name, but a user may have put it here
        try:
            transfer.check(remote, arrived, show)
        except transfer.WrongFile as wrong:
            raise BenchError(
                f"{arrived} is not the published file, it has {wrong}: delete it and run the same command again"
            ) from None
    else:
        transfer.download(remote, arrived, show)
    if download.is_archive:
        unpacked = _unpacked(download, workshop)
        unpack(arrived, unpacked, download.members, download.above, show)
        if hasattr(os, "sync"):  # lest a power failure leaves names without contents
            os.sync()
        _move_into(unpacked, folder)
    elif not (folder / download.name).exists():
        os.rename(arrived, folder / download.name)


def _move_into(source: Path, target: Path) -> None:
    """Move what is in one folder to another one, whole folders where they are not there yet; nothing is replaced."""
    for path in sorted(source.iterdir()):
        place = target / path.name
        if not os.path.lexists(place):
            os.rename(path, place)
        elif path.is_dir() and place.is_dir():
            _move_into(path, place)


def _tidy(download: Download, workshop: Path) -> None:
    """Remove what is not needed any more."""
    transfer.forget(workshop / download.name)
    (workshop / download.name).unlink(missing_ok=True)
    if _unpacked(download, workshop).exists():
        shutil.rmtree(_unpacked(download, workshop))


def _unpacked(download: Download, workshop: Path) -> Path:
    return workshop / f"{download.name}.unpacked"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock; that of a process that was killed is free.

    Raises:
        BenchError: if another process has it.
    """
    lock = acquire(path)
    if lock is None:
        raise BenchError(f"{holder(path) or 'another process'} is fetching {path.stem} into {path.parent}: wait for it")
    try:
        yield
    finally:
        lock.release()


def _still_missing(download: Download, root: Path) -> BenchError:
    place, count = next(
        (place, count) for place, count in download.leaves if not _has(root / download.folder / place, count)
    )
    path = root / download.folder / place
    what = f"{path} has {_count(path):,} of {count:,} files" if count else f"{path} is not there"
    return BenchError(
        f"{what}, although {download.url} was unpacked: move away what is in its place and run the same command again"
    )


def _has(path: Path, count: int) -> bool:
    return _count(path) >= count if count else path.is_file()


def _count(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(name.endswith(IMAGES) and not name.startswith(".") for name in os.listdir(folder))


def _bytes(download: Download) -> int:
    return download.bytes or download.about or 0


def _room(wanted: Sequence[Download], root: Path) -> tuple[int, int]:
    """Return the bytes that some downloads, one after the other, need at most, and those that they need in the end.

    Archives of photos take as much unpacked as packed.
    """
    most = after = 0
    for download in wanted:
        stays = (download.unpacked or _bytes(download)) if download.is_archive else 0
        most = max(most, after + _bytes(download) - _arrived(download, root) + stays)
        after += stays or _bytes(download)
    return most, after


def _disks(wanted: Sequence[Download], root: Path) -> dict[Path, list[Download]]:
    """Return which downloads go to one disk, by a folder that is there of it."""
    found: dict[int, tuple[Path, list[Download]]] = {}
    for download in wanted:
        place = _existing(root / download.folder)
        found.setdefault(place.stat().st_dev, (place, []))[1].append(download)
    return dict(found.values())


def _arrived(download: Download, root: Path) -> int:
    """Return the bytes of a download that are on disk."""
    path = root / download.folder / WORKSHOP / download.name
    for there in (path, transfer.part_of(path)):
        if there.is_file():
            return there.stat().st_size
    return 0


def _existing(folder: Path) -> Path:
    """Return the lowest folder that is there of a path."""
    return next((place for place in (folder, *folder.parents) if place.is_dir()), Path("/"))


def _line(download: Download, root: Path) -> str:
    """Say one download in a line."""
    size = in_words(download.bytes) if download.bytes else "size not published"
    if not download.bytes and download.about:
        size += f" (about {in_words(download.about)})"
    known = [word for word, value in (("sha256", download.sha256), ("size", download.bytes)) if value is not None]
    checked = f"checked by {known[0]}" if known else "no hash published"
    verb = "unpacked into" if download.is_archive else "into"
    arrived = _arrived(download, root)
    resumed = f", {in_words(arrived)} of it here already" if arrived else ""
    return f"{download.url}: {size}, {checked}, {verb} {root / download.folder}{resumed}"
