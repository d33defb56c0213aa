"""The one exception for mistakes a user can mend, and the nearest-name hint its messages end with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake in the input: one sentence saying what, where, and what to do about it."""


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
