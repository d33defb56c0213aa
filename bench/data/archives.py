"""Zip archives of data sets: looked through before anything is written, unpacked file by file, resumed after a kill."""

from __future__ import annotations

import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from models.errors import BenchError
from models.files.transfer import ShowBytes, require_room

SWELLING = 100
"""Times its own size that an archive may take unpacked. Photos take one, annotations eight."""
LONGEST_NAME = 255
"""Bytes of a file's name that file systems take."""
_CHUNK = 1 << 20
_ENCRYPTED = 1


def unpack(archive: Path, folder: Path, members: str, above: str, show: ShowBytes) -> None:
    """Unpack what matches a pattern into a folder; what is there already, byte for byte, is left as it is.

    Args:
        archive: a zip file.
        folder: made if it is not there.
        members: pattern of the members that are wanted, e.g. `val2017/*.jpg`.
        above: folder of the archive whose contents go into `folder`; empty for the archive's root.
        show: shows progress.

    Raises:
        BenchError: if the archive is damaged, has a member that could be written elsewhere or would become something
            else than a file or a folder, has none that is wanted, would fill the disk, or swells out of all proportion.
        OSError: if the disk refuses.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            _look_through(archive, opened.infolist())
            wanted = [one for one in opened.infolist() if not one.is_dir() and fnmatchcase(one.filename, members)]
            if not wanted:
                raise BenchError(f"{archive} has no member like '{members}': delete it and run the same command again")
            total = _swelling(archive, wanted)
            folder.mkdir(parents=True, exist_ok=True)
            there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            require_room(folder, total - there, f"unpacking {archive.name}")
            with show(f"unpacking {archive.name}", total) as advance:
                done = 0
                for one in wanted:
                    _extract(opened, one, folder / one.filename.removeprefix(f"{above}/"))
                    done += one.file_size
                    advance(done, total)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, RuntimeError) as error:
        raise BenchError(f"{archive} is damaged ({error}): delete it and run the same command again") from error


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one member whole or not at all; zipfile compares its CRC."""
    if path.is_file() and path.stat().st_size == member.file_size and _crc(path) == member.CRC:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    growing = path.with_name(".growing")
    with opened.open(member) as source, growing.open("wb") as target:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
    if growing.stat().st_size != member.file_size:
        raise zipfile.BadZipFile(f"{member.filename} ends early")
    os.replace(growing, path)


def _crc(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value


def _swelling(archive: Path, wanted: Sequence[zipfile.ZipInfo]) -> int:
    """Return the bytes of some members."""
    total, packed = sum(member.file_size for member in wanted), archive.stat().st_size
    if total > SWELLING * packed:
        raise BenchError(
            f"{archive} of {packed:,} bytes would swell to {total:,}, which no data set does: nothing was unpacked, "
            "delete it and see what its server offers"
        )
    return total


def _look_through(archive: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Raise a BenchError unless every member is a file or folder of a name of its own below the archive's root."""
    seen: dict[str, tuple[str, bool]] = {}
    for member in members:
        wrong = _wrong(member) or _collision(member, seen)
        if wrong:
            raise BenchError(
                f"{archive} has the member {member.orig_filename!a}, which {wrong}: nothing was unpacked, delete "
                "it and see what its server offers"
            )


def _wrong(member: zipfile.ZipInfo) -> str:
    """Say what is wrong with a member by itself, as the end of a sentence."""
    # Later Pythons take `filename` from another field than `orig_filename` where an archive has both.
    wrong = _wrong_name(member.orig_filename) or _wrong_name(member.filename)
    if wrong:
        return wrong
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        return "is a link" if kind == stat.S_IFLNK else "is a device or something else that is no file"
    return "is encrypted" if member.flag_bits & _ENCRYPTED else ""


def _wrong_name(name: str) -> str:
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or ":" in parts[0]:
        return "is an absolute path"
    if ".." in parts:
        return "leads out of its folder"
    if not name.isprintable() or "\\" in name or {"", "."} & set(parts):
        return "is no plain name"
    if max(len(os.fsencode(part)) for part in parts) > LONGEST_NAME:
        return "is too long a name"
    return ""


def _collision(member: zipfile.ZipInfo, seen: dict[str, tuple[str, bool]]) -> str:
    """Say which member or folder before it would be the same on a disk that knows no upper and lower case."""
    parts = member.filename.removesuffix("/").split("/")
    for depth in range(1, len(parts) + 1):
        path, is_folder = "/".join(parts[:depth]), depth < len(parts) or member.is_dir()
        key = unicodedata.normalize("NFC", path).casefold()
        if key not in seen:
            seen[key] = path, is_folder
        elif seen[key] != (path, is_folder) or not is_folder:
            return f"is {seen[key][0]!a} again where upper and lower case are one"
    return ""
