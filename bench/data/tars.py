"""Samples of webdataset tars, or of the same files unpacked, in any order: where each one's bytes are.

A tar is listed once, by its headers alone, and the list is cached by path, size and times. Which files make one
sample, and what they are called, is decided by the webdataset library.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa

from bench.data.parsed_cache import cached_table, numbers
from models.errors import BenchError

FORMAT = 2
"""Version of the cached lists."""
CUT = "tar that is cut short or damaged"
COMPRESSED = "tar that is compressed"
INCOMPLETE = "sample without all of its files"


_COMPRESSED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip, bzip2, xz and zstd."""
_MAGIC_BYTES = 6
_TAR_NAMES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


class Shard(Protocol):
    """Some samples in one place."""

    path: Path
    skipped: Counter[str]
    """What could not be listed: reason and how often."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def name(self, index: int) -> str:
        """Return a sample's name for messages."""

    def read(self, index: int) -> dict[str, bytes]:
        """Return a sample's files by extension."""


class Tar:
    """The samples of a tar, in the order of their names.

    Args:
        path: an uncompressed tar.
        extensions: of the files of each sample; samples that lack one are left out and counted.

    Raises:
        BenchError: if there is no such file, or the cache cannot be written.
    """

    def __init__(self, path: Path, extensions: Sequence[str]) -> None:
        self.path, self._extensions = path, tuple(extensions)
        try:
            found = path.stat()
        except OSError as error:
            raise BenchError(f"{path} cannot be read ({error.strerror}): check the path") from error
        state = [str(path.absolute()), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, *extensions]
        stem = f"tar-{hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]}-v{FORMAT}"
        columns, notes = cached_table(stem, lambda table: self._list_into(table))
        self._places = numbers(columns, "places").reshape(-1, len(extensions), 2)  # (offset, bytes) of each file
        self._keys = columns.column("key")
        self.skipped = Counter(notes["skipped"])

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._places)

    def name(self, index: int) -> str:
        """Return `<tar>:<key>`."""
        return f"{self.path}:{self._keys[index].as_py()}"

    def read(self, index: int) -> dict[str, bytes]:
        """Return a sample's files by extension.

        Raises:
            BenchError: if the tar has become shorter.
        """
        contents = {}
        with self.path.open("rb") as file:
            for extension, (offset, size) in zip(self._extensions, self._places[index].tolist(), strict=True):
                file.seek(offset)
                contents[extension] = file.read(size)
                if len(contents[extension]) != size:
                    raise BenchError(f"{self.path} has become shorter while it was read: start again")
        return contents

    def _list_into(self, table: Path) -> dict[str, Any]:
        skipped: Counter[str] = Counter()
        samples = sorted(_samples(self.path, skipped), key=lambda sample: sample["__key__"])
        whole = [sample for sample in samples if all(extension in sample for extension in self._extensions)]
        # Of what lies beside the samples (licences, lists) nothing is said.
        skipped[INCOMPLETE] += sum(any(e in sample for e in self._extensions) for sample in samples) - len(whole)
        places = [value for sample in whole for extension in self._extensions for value in sample[extension]]
        width = 2 * len(self._extensions)
        columns = pa.table(
            {
                "key": [sample["__key__"] for sample in whole],
                "places": pa.FixedSizeListArray.from_arrays(pa.array(places, pa.int64()), width),
            },
            schema=pa.schema({"key": pa.string(), "places": pa.list_(pa.int64(), width)}),
        )
        with pa.ipc.new_file(table, columns.schema) as writer:
            writer.write_table(columns)
        return {"skipped": dict(+skipped)}


class Folder:
    """The same files unpacked: samples are names that every extension is there for.

    Args:
        path: the folder.
        extensions: of the files of each sample; samples that lack one are left out and counted.
    """

    def __init__(self, path: Path, extensions: Sequence[str]) -> None:
        self.path, self._extensions = path, tuple(extensions)
        stems: Counter[str] = Counter()
        with os.scandir(path) as entries:
            for entry in entries:
                stem, _, extension = entry.name.partition(".")
                if stem and extension in self._extensions:
                    stems[stem] += 1
        self._stems = np.array(sorted(os.fsencode(stem) for stem, n in stems.items() if n == len(extensions)))
        self.skipped = +Counter({INCOMPLETE: len(stems) - len(self._stems)})

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._stems)

    def name(self, index: int) -> str:
        """Return the path of a sample's first file."""
        return str(self._file(index, self._extensions[0]))

    def read(self, index: int) -> dict[str, bytes]:
        """Return a sample's files by extension."""
        return {extension: self._file(index, extension).read_bytes() for extension in self._extensions}

    def _file(self, index: int, extension: str) -> Path:
        return self.path / f"{os.fsdecode(bytes(self._stems[index]))}.{extension}"


def tars_in(folder: Path) -> list[Path]:
    """Return a folder's tars, sorted, compressed ones too, which are to be said."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(_TAR_NAMES) and path.name[0] != ".")


def open_shards(paths: Sequence[Path], extensions: Sequence[str]) -> list[Shard]:
    """Open tars, and folders of tars or of the files themselves, in the order given; a folder's tars are sorted."""
    shards: list[Shard] = []
    for path in paths:
        if path.is_dir():
            shards += [Tar(tar, extensions) for tar in tars_in(path)]
            unpacked = Folder(path, extensions)
            shards += [unpacked] if len(unpacked) else []
        else:
            shards.append(Tar(path, extensions))
    return shards


def _samples(path: Path, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield samples as webdataset groups files, with (offset, size) in place of contents."""
    from webdataset.tariterators import group_by_keys  # not above: it imports torch

    def doubled(error: Exception) -> bool:
        skipped["file that is in its tar twice"] += 1
        return True

    # The publisher's tars need not have a sample's files side by side, which is all that webdataset looks at.
    files = sorted(_files(path, skipped), key=lambda file: file["fname"])
    yield from group_by_keys(files, handler=doubled)


def _files(path: Path, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the whole files of a tar from its headers, also those behind damage or behind an end (`cat a b`)."""
    size = path.stat().st_size
    with path.open("rb") as raw:
        if raw.read(_MAGIC_BYTES).startswith(_COMPRESSED_MAGIC):
            skipped[COMPRESSED] += 1
            return
        start = position = 0
        damaged = not size
        while position < size:
            members = _Members(raw, position)
            for member in members:
                if member.isreg() and member.offset_data + member.size <= size:
                    place = (member.offset_data, member.size)
                    yield {"fname": member.name, "data": place, "__url__": str(path)}
            after_zeros = _after_zeros(raw, members.end, size)
            damaged |= not members.sound or not _is_padding(start, members.end, after_zeros, size)
            if after_zeros > members.end:
                start = position = after_zeros
            else:
                position = members.end + tarfile.BLOCKSIZE  # no header, no end: look whether one follows
    skipped[CUT] += damaged


class _Members:
    """The members of a tar from some header on, up to zeros or to what is no header."""

    def __init__(self, raw: BinaryIO, position: int) -> None:
        self._raw = raw
        self.end = position
        """Where the last member ends."""
        self.sound = False
        """Whether there was any, and all could be understood."""

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        try:
            self._raw.seek(self.end)
            archive = tarfile.open(fileobj=self._raw, mode="r:")  # noqa: SIM115 - the file is the caller's
            while (member := archive.next()) is not None:
                if member.size < 0 or archive.offset <= self.end:
                    raise ValueError("it would end before it begins")
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep every header
                self.end, self.sound = archive.offset, True
                yield member
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError):
            self.sound = False


def _after_zeros(raw: BinaryIO, position: int, size: int) -> int:
    """Return the place of the first block from `position` on that is not zeros, the file's size if there is none."""
    raw.seek(position)
    while chunk := raw.read(1 << 20):
        if rest := len(chunk.lstrip(b"\0")):
            return position + (len(chunk) - rest) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        position += len(chunk)
    return size


def _is_padding(start: int, end: int, after_zeros: int, size: int) -> bool:
    """Return whether the zeros behind a tar's last member are two blocks that end it, padded to whole records or not.

    A download that was given its space first and stopped has more of them, one with a hole has others.
    """
    least = end + 2 * tarfile.BLOCKSIZE
    most = start - (start - least) // tarfile.RECORDSIZE * tarfile.RECORDSIZE
    if after_zeros < size:
        return after_zeros in (least, most)
    return end + tarfile.BLOCKSIZE <= size <= most
