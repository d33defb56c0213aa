"""Seeded damage to files, as disks, networks and power cuts do it: flipped bits, cuts, zeros, other people's bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

KINDS = ("flip a bit", "flip a byte", "cut", "zero a stretch", "overwrite a stretch", "empty", "append")


class Damage(NamedTuple):
    """One damaged version of some bytes."""

    what: str
    """What was done, and where: printed where a test fails."""
    content: bytes


def damage(content: bytes, seed: int) -> Damage:
    """Return `content` with one fault of the disk's drawn from `seed`; the kinds take turns."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    size = len(content)
    place = int(rng.integers(size)) if size else 0
    length = int(rng.integers(1, max(2, min(4096, size - place + 1))))
    broken = bytearray(content)
    if kind == "flip a bit":
        broken[place] ^= 1 << int(rng.integers(8))
    elif kind == "flip a byte":
        broken[place] ^= int(rng.integers(1, 256))
    elif kind == "cut":
        del broken[place:]
    elif kind == "zero a stretch":
        broken[place : place + length] = bytes(len(broken[place : place + length]))
    elif kind == "overwrite a stretch":
        broken[place : place + length] = rng.bytes(len(broken[place : place + length]))
    elif kind == "empty":
        broken.clear()
    else:
        broken += rng.bytes(length)
    return Damage(f"{kind} at {place:,} of {size:,} (seed {seed})", bytes(broken))


TOKENS = re.compile(rb'"[^"]*"|-?[0-9.]+(?:e-?[0-9]+)?|[\[\]{},:]|true|false|null')
STRANGE = (b"null", b"true", b"-1", b"0", b"1.5", b"1e999", b"NaN", b"99999999999999999999", b'"x"', b"[]", b"{}", b"")


def mistake(content: bytes, seed: int) -> Damage:
    """Return JSON in which one token is another one, drawn from `seed`: a digit, a strange value, or nothing."""
    rng = np.random.default_rng(seed)
    tokens = list(TOKENS.finditer(content))
    token = tokens[int(rng.integers(len(tokens)))]
    value = bytearray(token.group())
    if seed % 2 and any(48 <= character < 58 for character in value):
        digits = [k for k, character in enumerate(value) if 48 <= character < 58]
        value[digits[int(rng.integers(len(digits)))]] = 48 + int(rng.integers(10))
        new = bytes(value)
    else:
        new = STRANGE[int(rng.integers(len(STRANGE)))]
    what = f"{token.group().decode()} at {token.start():,} becomes {new.decode()} (seed {seed})"
    return Damage(what, content[: token.start()] + new + content[token.end() :])


def damaged(
    files: list[Path], seeds: range, how: Callable[[bytes, int], Damage] = damage
) -> Iterator[tuple[Path, str]]:
    """Damage one of the files for each seed and put it back afterwards; yields the file and what was done.

    Faults that change nothing (zeros over zeros) are passed over, so fewer than `len(seeds)` may come.
    """
    for seed in seeds:
        path = files[int(np.random.default_rng((seed, 1)).integers(len(files)))]
        whole = path.read_bytes()
        if not whole:
            continue
        fault = how(whole, seed)
        if fault.content == whole:
            continue
        path.write_bytes(fault.content)
        try:
            yield path, fault.what
        finally:
            path.write_bytes(whole)
