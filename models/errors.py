"""The one exception for mistakes a user can mend, and the words its messages are made of."""

from __future__ import annotations

import difflib
import errno
import os
import unicodedata
from collections.abc import Iterable, Mapping


class BenchError(Exception):
    """A mistake in the input: one sentence saying what, where, and what to do about it."""

    def __str__(self) -> str:
        """Return the sentence with names in it as `printable` writes them: they come from other people's files."""
        return printable(super().__str__())


def printable(text: str) -> str:
    r"""Return text in which characters that a terminal or a page would obey stand as Python escapes.

    These are control characters (also of ANSI sequences), those that turn the direction of writing, line ends, and
    bytes of file names that are no UTF-8.

    >>> print(printable("a\x1b[31m\nb\u202etxt"))
    a\x1b[31m\nb\u202etxt
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or unicodedata.category(one) == "Zs" else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


class UnsupportedPrompt(BenchError):
    """A kind of prompt that a model was not made for; the others go on."""


class MissingData(BenchError):
    """A data set, or a part of one, that is not on disk; tables that need others go on."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> BenchError:
    """Return the error for a name that is not in a table, with the nearest known one.

    >>> str(unknown_name("preset", "papr", ["paper", "tinysam"]))
    "unknown preset 'papr': did you mean 'paper'? Known: paper, tinysam"
    """
    choices = sorted(known)
    nearest = difflib.get_close_matches(name, choices, n=1, cutoff=0.4)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return BenchError(f"unknown {kind} '{name}': {hint}Known: {', '.join(choices)}")


_PERMISSIONS = "give this user the right to it, or name another place"
_ROOM = "make room there and run the same command again"
_WAYS_OUT: Mapping[int, str] = {
    errno.EACCES: _PERMISSIONS,
    errno.EPERM: _PERMISSIONS,
    errno.EROFS: "name a place on another disk",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "allow larger files (`ulimit -f unlimited`) and run the same command again",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a file is where a folder is needed, move it away or name another place",
    errno.EEXIST: "a file is where a folder is needed, move it away or name another place",
    errno.EISDIR: "a folder is where a file is needed, move it away or name another place",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.ELOOP: "mend that link, which leads back to itself",
    errno.EMFILE: "allow more open files (`ulimit -n 4096`) and run the same command again",
}
_ELSE = "check the disk and run the same command again"


def refused(error: OSError, path: str | os.PathLike[str] | None = None) -> BenchError:
    """Return the sentence for what the operating system refused: the file it was really about, why, and the way out.

    Args:
        error: as the system raised it.
        path: what was to be read or written, for errors that name no file.
    """
    place = error.filename if isinstance(error.filename, (str, bytes)) else path
    if place is None and error.errno == errno.ENOENT:
        return BenchError("the current folder is not there any more: go to another one")
    subject = "something" if place is None else f"'{os.fsdecode(place)}'"
    said = error.strerror or str(error) or type(error).__name__
    return BenchError(f"{subject} cannot be used ({said}): {way_out(error)}")


def way_out(error: OSError) -> str:
    """Return what to do about an error of the operating system."""
    return _WAYS_OUT.get(error.errno or 0, _ELSE)
