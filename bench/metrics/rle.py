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

AT_ONCE = 192
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
    char_ends = np.cumsum(lengths[filled])  # [masks] past its last character
    ends_number = (codes & 32) == 0  # [C] is this the last character of a number
    sound = ends_number[char_ends - 1]
    ends_number[char_ends - 1] = True
    last = np.flatnonzero(ends_number)  # [M] last character
    groups = np.diff(last, prepend=-1)  # [M] characters
    number_ends = np.searchsorted(last, char_ends)  # [masks] past its last number
    begins = np.concatenate([[0], number_ends[:-1]])  # [masks] first number
    sound &= np.maximum.reduceat(codes, char_ends - lengths[filled]) < 64
    sound &= np.maximum.reduceat(groups, begins) <= LONGEST_NUMBER
    runs, sign = _runs(_numbers(codes, last, groups), begins, number_ends - begins)
    sound &= np.minimum.reduceat(runs, begins) >= 0
    covered = np.add.reduceat(runs, begins, dtype=np.int64)
    by_turns = np.add.reduceat(runs * sign, begins, dtype=np.int64) * sign[begins]
    totals[0, filled] = np.where(sound, covered, -1)
    totals[1, filled] = (covered - by_turns) >> 1
    return totals


def _runs(numbers: np.ndarray, begins: np.ndarray, in_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the length of each run, int [M]: from its mask's second number on, the sum of every other one.

    Also +1 and -1 by turns, [M], by which runs of 0 and 1 are told apart within a mask.
    """
    sign = np.ones_like(numbers)
    sign[1::2] = -1
    rest = numbers.copy()
    rest[begins] = 0
    plain, by_turns = np.cumsum(rest, dtype=rest.dtype), np.cumsum(rest * sign, dtype=rest.dtype)
    plain -= np.repeat(plain[begins], in_mask)
    by_turns -= np.repeat(by_turns[begins], in_mask)
    runs = (plain + sign * by_turns) >> 1  # half the sum is that of even places, half the difference of odd
    runs[begins] = numbers[begins]
    return runs, sign


def _numbers(codes: np.ndarray, last: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the signed numbers that end at the characters `last`, int [M].

    In 32 bits where no sum of them can need more, which is nearly always and twice as fast.
    """
    values = ((codes[last] & 31).astype(np.int32) ^ 16) - 16  # the highest group has the sign
    longer = np.flatnonzero(groups > 1)  # most numbers have one character or two
    for place in range(1, LONGEST_NUMBER):
        values[longer] = (values[longer] << 5) | (codes[last[longer] - place] & 31)
        longer = longer[groups[longer] > place + 1]
    return values if np.abs(values).sum(dtype=np.int64) < 2**29 else values.astype(np.int64)
