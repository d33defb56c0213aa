"""What makes two runs the same run: canonical JSON of plain values, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from models.errors import BenchError

FINGERPRINT_DIGITS = 16
"""64 bits: any two of a million runs collide with a chance of 3e-8, and that would be refused, not mixed."""
_SCALARS = (str, int, float, bool, type(None))


def canonical_json(value: object, *, what: str = "identity") -> str:
    """Return the one JSON text of a plain value: keys sorted, floats by repr, no spaces, ASCII.

    Tuples count as lists, as they do once read back. 1 and 1.0 are different values.

    Args:
        value: None, bool, int, float, str, and lists, tuples and str-keyed dicts of these.
        what: name of the value in error messages.

    Raises:
        BenchError: naming the place of a NaN, an infinity, or a value of any other type (also numpy's).

    >>> canonical_json({"b": (1, 2.0), "a": None})
    '{"a":null,"b":[1,2.0]}'
    """
    _check_plain(value, what)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(identity: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of the sha256 of the canonical JSON.

    Raises:
        BenchError: see `canonical_json`.
    """
    return hashlib.sha256(canonical_json(identity).encode("ascii")).hexdigest()[:FINGERPRINT_DIGITS]


def _check_plain(value: object, place: str) -> None:
    # Exact types: a numpy float is a float to isinstance, but its repr differs between numpy versions.
    kind = type(value)
    if kind is float and not math.isfinite(value):  # type: ignore[arg-type]
        raise BenchError(f"{place} is {value}, which JSON cannot hold: give a finite number or None")
    if isinstance(value, dict) and kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise BenchError(f"{place} has the key {key!r} of type {type(key).__name__}: give keys as str")
            _check_plain(item, f"{place}.{key}")
    elif isinstance(value, (list, tuple)) and kind in (list, tuple):
        for position, item in enumerate(value):
            _check_plain(item, f"{place}[{position}]")
    elif kind not in _SCALARS:
        raise BenchError(
            f"{place} is a {kind.__module__}.{kind.__qualname__}: "
            "give plain None, bool, int, float, str, list or dict (for numpy scalars, .item())"
        )
