"""JSON files of gigabytes, element by element, and the byte at which a broken one breaks.

One pass serves every array of a file, in whatever order its keys come (COCO puts the images first, LVIS the
annotations), with the standard library's C scanner. It is not here for speed: a 215 MB LVIS-like file takes 8 to
9 s of CPU and 70 MB (json.load 8.4 s and 1.3 GB; ijson with yajl2_c 9 to 12 s and 20 MB, in three passes), a
132 MB list of results 2.3 s, where ijson takes 1.2 s. But ijson names no byte and refuses the NaN that Python's
own json module writes, so that neither a cut nor a broken entry could be placed.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from models.errors import BenchError

CHUNK = 1 << 20
"""Bytes a read."""
BATCH = 256
"""Elements handed over at once; with 4,096 the garbage collector takes up to a third of the time."""

_SCAN = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_SPACE = re.compile(r"[ \t\n\r]*")
# What the window's end cuts in two (number, literal, escape) is shorter than this from its error position on.
_TOKEN = 16
_UNFINISHED = re.compile(r"[\w+.\\-]*")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that somebody else wrote."""

    path: Path
    remedy: str
    """How the sentence of an error about it ends, e.g. `download it again (bench data verify coco)`."""


def stream(source: Source, *, batch: int = BATCH, chunk: int = CHUNK) -> Iterator[tuple[str, list[Any]]]:
    """Yield (key, elements) for every top-level array, in batches; an empty array yields one empty batch.

    Args:
        source: a JSON file whose top level is an object, or an array (its key is then "").
        batch: elements in a batch; only an array's last one is shorter.
        chunk: bytes read at once.

    Raises:
        BenchError: if the file is cut short or is not JSON, naming the byte.
    """
    try:
        with source.path.open("rb") as file:
            yield from _top_level(_Window(file, source, chunk), batch)
    except OSError as error:
        raise BenchError(f"{source.path} cannot be read ({error.strerror or error}): {source.remedy}") from error


def _top_level(window: _Window, batch: int) -> Iterator[tuple[str, list[Any]]]:
    if window.peek() == "[":
        for elements in _batched(window, batch):
            yield "", elements
    else:
        window.take("{")
        more = not window.accept("}")
        while more:
            if window.peek() != '"':
                window.reject()
            key = window.value()
            window.take(":")
            if window.peek() == "[":
                for elements in _batched(window, batch):
                    yield key, elements
            else:
                window.value()
            more = window.accept(",")
            if not more:
                window.take("}")
    window.finish()


def _batched(window: _Window, batch: int) -> Iterator[list[Any]]:
    """Yield an array's elements in lists of `batch`."""
    elements: list[Any] = []
    window.take("[")
    more = not window.accept("]")
    while more:
        elements.append(window.value())
        more = window.accept(",")
        if not more:
            window.take("]")
        elif len(elements) == batch:
            yield elements
            elements = []
    yield elements


class _Window:
    """A part of the file as text, a position in it, and the bytes that went before."""

    def __init__(self, file: BinaryIO, source: Source, chunk: int) -> None:
        self._file, self._source, self._chunk = file, source, chunk
        self._size = source.path.stat().st_size
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text, self._at = "", 0
        self._before = 0
        self._read = 0
        self._ended = False

    def peek(self) -> str:
        """Return the next character that is not white space, and stand on it."""
        if not self._skip_space():
            raise self._cut()
        return self._text[self._at]

    def accept(self, mark: str) -> bool:
        """Step over `mark` if it comes next."""
        found = self.peek() == mark
        self._at += found
        return found

    def take(self, mark: str) -> None:
        """Step over `mark`, which must come next."""
        if not self.accept(mark):
            self.reject()

    def value(self) -> Any:
        """Parse the next value, however far it reaches."""
        self.peek()
        while True:
            try:
                value, end = _SCAN(self._text, self._at)
            except StopIteration as stop:
                broken = int(stop.value)
            except json.JSONDecodeError as error:
                broken = len(self._text) if error.msg.startswith("Unterminated string") else error.pos
            except RecursionError:
                raise BenchError(f"{self._source.path} is nested too deeply: {self._source.remedy}") from None
            else:
                broken = end
                if not isinstance(value, (int, float)) or not self._may_go_on(broken):
                    self._at = end
                    return value
            if not self._may_go_on(broken):
                self.reject(broken)
            if self._ended:
                raise self._cut()
            self._grow()

    def finish(self) -> None:
        """Make sure that nothing but white space is left."""
        if self._skip_space():
            self.reject()

    def reject(self, at: int | None = None) -> NoReturn:
        """Raise the error that what stands here, or at `at`, is not JSON."""
        at = self._at if at is None else at
        where = f"at byte {self._byte(at):,} of {self._size:,} ({self._text[at : at + 20]!r})"
        raise BenchError(f"{self._source.path} is not JSON {where}: {self._source.remedy}")

    def _cut(self) -> BenchError:
        if not self._read:
            return BenchError(f"{self._source.path} is empty: {self._source.remedy}")
        where = f"at byte {self._byte(self._at):,} of {self._size:,}"
        return BenchError(f"{self._source.path} ends in the middle of a value {where}: {self._source.remedy}")

    def _may_go_on(self, at: int) -> bool:
        """Return whether a token at `at`, which may be none yet, could be cut in two by the window's end."""
        if self._ended:
            return _UNFINISHED.fullmatch(self._text, at) is not None
        return at >= len(self._text) - _TOKEN

    def _byte(self, at: int) -> int:
        return self._before + len(self._text[:at].encode())

    def _skip_space(self) -> bool:
        """Stand on the next character that is not white space; False at the end of the file."""
        while True:
            if self._text[self._at : self._at + 1] <= " ":
                self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return True
            if not self._grow():
                return False

    def _grow(self) -> bool:
        """Drop what was read and append a chunk, at least as long as what is kept: long values stay cheap."""
        data = self._file.read(max(self._chunk, len(self._text) - self._at))
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            if not data:
                raise self._cut() from None
            byte = self._read - len(self._decoder.getstate()[0]) + error.start
            raise BenchError(
                f"{self._source.path} is not text at byte {byte:,} of {self._size:,}: unpack it if it is "
                f"compressed, else {self._source.remedy}"
            ) from None
        self._before = self._byte(self._at)
        self._read += len(data)
        self._text, self._at = self._text[self._at :] + text, 0
        self._ended = not data
        return bool(data)
