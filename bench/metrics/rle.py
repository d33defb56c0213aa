"""Run lengths of many compressed masks at once, without drawing one.

COCO's compressed RLE (maskApi.c) writes a mask as the lengths of runs of 0 and 1, by turns, 0 first, down the
columns; from the fourth on, each as the difference to the run two before. A number is written in 5-bit
groups, lowest first, each a character from 48 on; bit 32 says that more follow, bit 16 of the last is the
sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.errors import BenchError

AT_ONCE = 512
"""Masks decoded together: as many as keep the work in the CPU's second cache."""
LONGEST_NUMBER = 6
"""Groups in a number: 30 bits hold any run of an image of up to 2^29 px."""


def rle_totals(counts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Return how many pixels each mask's runs cover, and how many of them are set, both int64 [N].

    Runs that are not well-formed cover -1 pixels: an evaluator would score what is left of them in silence.

    Raises:
        BenchError: if counts are not the compressed string form.

    >>> [total.tolist() for total in rle_totals([b"13"])]
    [[4], [3]]
    """
    parts = [_totals([_as_bytes(one) for one in counts[i : i + AT_ONCE]]) for i in range(0, len(counts), AT_ONCE)]
    both = np.concatenate(parts, axis=1) if parts else np.empty((2, 0), dtype=np.int64)
    return both[0], both[1]


def _as_bytes(counts: str | bytes) -> bytes:
    if isinstance(counts, str):
        return counts.encode(errors="surrogatepass")
    if isinstance(counts, bytes):
        return counts
    raise BenchError(f"RLE counts must be the compressed string, got {type(counts).__name__}: encode with pycocotools")


def _totals(counts: list[bytes]) -> np.ndarray:
    """Return covered and set pixels, int64 [2, N]; characters are named C and numbers M below."""
    totals = np.empty((2, len(counts)), dtype=np.int64)
    totals[:] = [[-1], [0]]
    lengths = np.array([len(one) for one in counts])
    filled = np.flatnonzero(lengths)
    if not filled.size:
        return totals
    codes = np.frombuffer(b"".join(counts), dtype=np.uint8) - np.uint8(48)  # [C], below "0" wraps round past 63
    ends = np.cumsum(lengths[filled])
    begins = ends - lengths[filled]  # [masks] first character
    more = (codes & 32) != 0
    opens = np.concatenate([[True], ~more[:-1]])  # [C] does a number begin here
    opens[begins] = True
    first = np.flatnonzero(opens)  # [M] first character
    groups = np.diff(first, append=len(codes))  # [M] characters
    begin_number = np.cumsum(opens)[begins] - 1  # [masks] first number
    in_mask = np.diff(begin_number, append=len(first))  # [masks] numbers
    sound = np.logical_and.reduceat(codes < 64, begins) & ~more[ends - 1]
    sound &= np.maximum.reduceat(groups, begin_number) <= LONGEST_NUMBER
    place = np.arange(len(first)) - np.repeat(begin_number, in_mask)
    runs = _runs(_numbers(codes, first, groups), place, begin_number, in_mask)
    sound &= np.minimum.reduceat(runs, begin_number) >= 0
    totals[0, filled] = np.where(sound, np.add.reduceat(runs, begin_number), -1)
    totals[1, filled] = np.add.reduceat(runs * (place & 1), begin_number)
    return totals


def _runs(numbers: np.ndarray, place: np.ndarray, begin_number: np.ndarray, in_mask: np.ndarray) -> np.ndarray:
    """Return the length of each run, int64 [M]: from its mask's second number on, the sum of every other one."""
    rest = numbers.copy()
    rest[begin_number] = 0
    sign = 1 - 2 * (place & 1)
    plain, by_turns = np.cumsum(rest), np.cumsum(rest * sign)
    plain -= np.repeat(plain[begin_number], in_mask)
    by_turns -= np.repeat(by_turns[begin_number], in_mask)
    runs: np.ndarray = (plain + sign * by_turns) >> 1  # half the sum is that of even places, half the difference of odd
    runs[begin_number] = numbers[begin_number]
    return runs


def _numbers(codes: np.ndarray, first: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the signed numbers written in `groups` characters from `first` on, int64 [M]."""
    values = (codes[first] & 31).astype(np.int64)
    longer = np.flatnonzero(groups > 1)  # most numbers have one character or two
    for place in range(1, LONGEST_NUMBER):
        values[longer] |= (codes[first[longer] + place] & 31).astype(np.int64) << (5 * place)
        longer = longer[groups[longer] > place + 1]
    negative = (codes[first + groups - 1] & 16).astype(np.int64) >> 4
    values -= negative << (5 * np.minimum(groups, LONGEST_NUMBER))
    return values
