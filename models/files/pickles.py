"""Pickles that are looked at but not run: which functions and classes one asks for."""

from __future__ import annotations

import io
import mmap
import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from models.errors import BenchError
from models.files.containers import Source, opened

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_TENSORS = re.compile(
    r"torch\._utils\._rebuild_\w+|torch(\.cuda|\.storage)?\.\w*Storage|torch\.(u?int\d+|b?float\d+|bool|Size|device)"
    r"|torch\.nn\.parameter\.Parameter|torch\.serialization\._get_layout|torch\._tensor\._rebuild_from_type_v2"
    r"|collections\.OrderedDict"
)
"""What torch files of tensors alone ask for."""
_ARRAYS = re.compile(r"numpy\.(_?core\.multiarray\.(_reconstruct|scalar)|ndarray|dtype)|_codecs\.encode")
"""What pickles of NumPy arrays ask for."""
_SHOWN = 3


def asked_for(source: Source) -> list[str]:
    """Return the functions and classes, "module.name", that a torch file or a bare pickle asks for besides tensors.

    Nothing of it is run. What is no pickle, or is damaged, asks for as much as can be read of it.
    """
    names: list[str] = []
    with suppress(ValueError, OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError), opened(source) as file:
        for stream in _pickles(file):
            names += _globals(stream)
    return [name for name in dict.fromkeys(names) if not _TENSORS.fullmatch(name)]


def beyond_arrays(names: list[str]) -> list[str]:
    """Return the names that are not those of NumPy arrays."""
    return [name for name in names if not _ARRAYS.fullmatch(name)]


def runs_code(path: Path, names: list[str], way_out: str) -> BenchError:
    """Return the error for a file whose pickle asks for functions or classes."""
    rest = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
    of = f" ({shown})" if shown else ""
    return BenchError(f"'{path}' asks to run code as it is read{of}, which was not done: {way_out}")


def _pickles(file: BinaryIO) -> list[Any]:
    """Return the streams of pickles in a torch file, or the file itself."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return [io.BytesIO(archive.read(name)) for name in archive.namelist() if name.endswith("data.pkl")]
    file.seek(0)
    with suppress(OSError, ValueError):  # no file on disk; a map reads no further than to its end
        return [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)]
    return [file]


def _globals(stream: Any) -> list[str]:
    """Return the names in all pickles of a stream; older torch files have several."""
    found: list[str] = []
    with suppress(ValueError):  # after the last one, or where it is damaged
        while True:
            found += _names(pickletools.genops(stream))
    return [name for name in found if _NAME.fullmatch(name)]


def _names(codes: Iterator[tuple[Any, Any, Any]]) -> Iterator[str]:
    """Yield the names in one pickle."""
    memo: dict[int, str] = {}
    strings, top = ["", ""], ""
    for code, argument, _ in codes:
        if code.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif code.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif code.name == "MEMOIZE" or "PUT" in code.name:
            memo[len(memo) if argument is None else int(argument)] = top
        top = memo.get(int(argument), "") if "GET" in code.name else argument if isinstance(argument, str) else ""
        strings += [top] if top else []
