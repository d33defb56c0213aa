"""What a file of weights is, told by its content: a name that ends in .pt may stand for a web page or a pointer.

Zip and gzip files with one checkpoint in them are opened in memory. Other kinds are refused by their own names.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from models.errors import BenchError

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".safetensors")
"""Of checkpoints, for those inside archives."""
_HEAD = 1024
_LARGEST_HEADER = 100_000_000
"""Bytes of a safetensors header, the format's own limit."""
_UNPACKED, _RATIO = 1 << 30, 20
"""What is unpacked in memory: at most this many bytes, or so many times the packed ones. Weights hardly compress."""
_TAR = "is a tar archive: unpack it and give the checkpoint inside"
_PACKED = "is compressed with {}: unpack it and give the checkpoint inside"
_STARTS: tuple[tuple[int, bytes, str], ...] = (
    (257, b"ustar", _TAR),
    (0, b"version https://git-lfs", "is a Git LFS pointer instead of the file itself: run `git lfs pull` in its clone"),
    (0, b"\xfd7zXZ\0", _PACKED.format("xz")),
    (0, b"BZh", _PACKED.format("bzip2")),
    (0, b"\x28\xb5\x2f\xfd", _PACKED.format("zstd")),
    (0, b"7z\xbc\xaf", _PACKED.format("7-Zip")),
    (0, b"Rar!", _PACKED.format("RAR")),
    (0, b"\x89HDF", "is an HDF5 file, as Keras saves it: give a PyTorch or safetensors file of the model"),
    (0, b"GGUF", "is a GGUF file of quantised weights: give a PyTorch or safetensors file of the model"),
    (0, b"\x93NUMPY", "is a NumPy array: give a PyTorch or safetensors file of the model"),
    (4, b"TFL3", "is a TensorFlow Lite model: give a PyTorch or safetensors file of the model"),
)
"""(offset, bytes there, what the file is and what to do)."""
_PATTERNS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE),
        "is a web page instead of a checkpoint: download the file itself",
    ),
    # ModelProto: ir_version, then the producer's name, the graph or the opsets
    (
        re.compile(rb"\x08[\x01-\x20](\x12[\x01-\x40][\w.\- ]|\x3a[\x80-\xff]|\x42[\x02-\x40]\x0a?)", re.DOTALL),
        "is an ONNX model: give the PyTorch or safetensors file that it was exported from",
    ),
    (
        re.compile(rb"\s*[\[{]\s*[\"\]}]"),
        "is a JSON text instead of a checkpoint, maybe an error message of a server: give the file itself",
    ),
)
"""(how the file begins, what it is and what to do)."""
_TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The magic number before torch 1.6."""

Source = Path | io.BytesIO
"""A file, or the content of one in an archive."""


def open_container(path: Path) -> Source:
    """Return the checkpoint that a file is or holds.

    Raises:
        BenchError: if it is empty, unreadable, or known to be something else.
    """
    source: Source = path
    for _ in range(3):  # a zip in a gzip
        inner = _unpacked(source, path)
        if inner is None:
            return source
        source = inner
    raise BenchError(f"'{path}' is an archive of archives: unpack it and give the checkpoint inside")


def is_safetensors(source: Source) -> bool:
    """Return whether a source begins as safetensors do: the length of a JSON object, and the object."""
    head = _head(source)
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LARGEST_HEADER


def is_torch(source: Source) -> bool:
    """Return whether a source begins as torch's zip files or its older ones do."""
    return _head(source).startswith((b"PK", _TORCH_LEGACY))


def is_bare_pickle(source: Source) -> bool:
    """Return whether a source begins as a pickle that is no torch file."""
    head = _head(source)
    return head[:1] == b"\x80" and head[1:2] <= b"\x05" and not head.startswith(_TORCH_LEGACY)


def opened(source: Source) -> BinaryIO:
    """Open a source at its start; the caller closes it."""
    return io.BytesIO(source.getvalue()) if isinstance(source, io.BytesIO) else source.open("rb")


def _head(source: Source) -> bytes:
    with opened(source) as file:
        return file.read(_HEAD)


def _unpacked(source: Source, path: Path) -> io.BytesIO | None:
    """Return what a zip or gzip file holds, None if the source is no archive.

    Raises:
        BenchError: see `open_container`.
    """
    try:
        head = _head(source)
        if head.startswith(b"\x1f\x8b"):
            return _from_gzip(source, path)
        if head.startswith(b"PK"):
            return _from_zip(source, path)
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BenchError(
            f"'{path}' is an archive that cannot be unpacked ({str(error) or 'it ends early'}): give a whole copy of it"
        ) from error
    except OSError as error:
        raise BenchError(f"'{path}' cannot be read ({error.strerror or error}): check its permissions") from error
    if not is_safetensors(source):
        _refuse_known(head, path)
    return None


def _refuse_known(head: bytes, path: Path) -> None:
    """Raise if a file begins as one of a kind that holds no weights for us."""
    for offset, start, what in _STARTS:
        if head[offset:].startswith(start):
            raise BenchError(f"'{path}' {what}")
    for pattern, what in _PATTERNS:
        if pattern.match(head):
            raise BenchError(f"'{path}' {what}")


def _from_gzip(source: Source, path: Path) -> io.BytesIO:
    with opened(source) as packed:
        size = packed.seek(0, io.SEEK_END)
        packed.seek(0)
        with gzip.GzipFile(fileobj=packed) as file:
            return _bounded(file, size, path)


def _from_zip(source: Source, path: Path) -> io.BytesIO | None:
    """Return the one checkpoint of a zip file; None for torch's own zips, and for those that end early."""
    with opened(source) as packed:
        if not zipfile.is_zipfile(packed):
            return None
        with zipfile.ZipFile(packed) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
            if any(name.name == "constants.pkl" or "code" in name.parts[1:2] for name in names):
                raise BenchError(
                    f"'{path}' is a TorchScript archive, which holds code: save the tensors alone with "
                    "torch.save({'model': torch.jit.load(path).state_dict()}, other)"
                )
            if any(name.name == "data.pkl" for name in names):
                return None
            found = [
                name
                for name in names
                if name.suffix in SUFFIXES and "__MACOSX" not in name.parts and not name.name.startswith(".")
            ]
            if len(found) != 1:
                what = f"{len(found)} ({', '.join(map(str, found[:3]))})" if found else "none"
                raise BenchError(
                    f"'{path}' is a zip archive, which is read if it holds one checkpoint, but it holds {what}: "
                    "give the checkpoint itself"
                )
            info = archive.getinfo(str(found[0]))
            with archive.open(info) as file:
                return _bounded(file, info.compress_size, path)


def _bounded(file: IO[bytes] | gzip.GzipFile, packed: int, path: Path) -> io.BytesIO:
    """Read all of a compressed stream unless it is larger than weights can be."""
    limit, content = max(_UNPACKED, _RATIO * packed), io.BytesIO()
    while chunk := file.read(1 << 20):
        content.write(chunk)
        if content.tell() > limit:
            raise BenchError(
                f"'{path}' unpacks to more than {limit:,} bytes from {packed:,}, which no weights do: "
                "give the checkpoint itself"
            )
    content.seek(0)
    return content
