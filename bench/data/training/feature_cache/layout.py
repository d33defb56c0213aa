"""What a feature cache holds, and where: names, sizes and the file that says what it was made of."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import BenchError

SHARD_SAMPLES = 1024
"""Samples in a shard: 103 MB of SAM's features at 224 px."""
BLOCK = 512
"""Tar's unit, bytes: a header is one, contents fill whole ones."""
CHECKSUM = slice(265, 297)
"""Where a tar's header names the owner's user: of a features.npy, the CRC32 of its content in hex digits."""
ABOUT = "features.json"
"""The file that says what a folder holds."""


@dataclass(frozen=True, slots=True)
class About:
    """What a cache holds and what it was made of."""

    images: int
    """Photos."""
    views: int
    """Crops of each photo."""
    seed: int
    """Of the crops."""
    scale: tuple[float, float]
    """Range of the crops' area."""
    size: int
    """Side of the crops, px."""
    teacher_sha256: str
    """Of the teacher's weights; whoever makes features otherwise from the same weights adds how."""
    tokens: int
    """N, features of a crop."""
    width: int
    """C, numbers of a feature."""
    shard_samples: int = SHARD_SAMPLES
    """Samples in every shard but the last."""
    photos: str = ""
    """Which photos, as a hash of their names; empty where nobody said."""
    version: int = 1
    """Of this layout and of how crops are drawn."""

    def shards(self) -> list[range]:
        """Return the samples of each shard; sample k is view k % views of image k // views."""
        bounds = [*range(0, self.images * self.views, self.shard_samples), self.images * self.views]
        return [range(first, end) for first, end in pairwise(bounds)]


def disk_need(images: int, views: int, tokens: int, width: int) -> int:
    """Return the bytes that the features of every view take, but for the 10 kB that end each shard.

    >>> f"{disk_need(1_281_167, 1, 196, 256) / 1e9:.0f} GB"  # ImageNet-1K, one view, SAM at 224 px
    '131 GB'
    """
    return images * views * stride(tokens, width)


def compare(folder: Path, about: About, wanted: dict[str, Any]) -> None:
    """Make sure that a folder is about what is wanted.

    Raises:
        BenchError: naming every fact of `wanted` that differs.
    """
    if not about.photos:
        wanted = {**wanted, "photos": ""}
    differs = [name for name, value in wanted.items() if getattr(about, name) != value]
    if differs:
        made = ", ".join(f"{name} {getattr(about, name)} (not {wanted[name]})" for name in differs)
        raise BenchError(f"{folder} holds features made with {made}: name another folder, or remove this one")


def read_about(folder: Path) -> About:
    """Return what a folder says it holds.

    Raises:
        BenchError: if it says nothing.
    """
    try:
        found = json.loads((folder / ABOUT).read_text())
        return About(**{**found, "scale": tuple(found["scale"])})
    except FileNotFoundError:
        raise BenchError(f"{folder} holds no features: write them first, or check the path") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BenchError(f"{folder / ABOUT} cannot be read ({error}): remove {folder} and write it again") from error


def is_whole(path: Path, about: About, samples: range) -> bool:
    """Whether a shard is there with a place for each of its samples."""
    try:
        return path.stat().st_size >= len(samples) * stride(about.tokens, about.width)
    except FileNotFoundError:
        return False


def npy_bytes(tokens: int, width: int) -> int:
    """Return the size of a features.npy: a header of fixed size, since the shape is fixed, and the numbers."""
    empty = io.BytesIO()
    header = {"descr": "<f2", "fortran_order": False, "shape": (tokens, width)}
    np.lib.format.write_array_header_1_0(empty, header)
    return len(empty.getvalue()) + 2 * tokens * width


def stride(tokens: int, width: int) -> int:
    """Return the bytes from one sample to the next in a tar: two headers, the features, one block of JSON."""
    return BLOCK + -(-npy_bytes(tokens, width) // BLOCK) * BLOCK + 2 * BLOCK


def key_of(index: int, view: int) -> str:
    """Return the name of a sample's files up to the first dot, which webdataset groups by."""
    return f"{index:08d}-{view:04d}"


def shard_path(folder: Path, number: int) -> Path:
    """Return the path of a shard."""
    return folder / f"features-{number:06d}.tar"


def changed(path: Path) -> BenchError:
    """Return the error for a shard that holds something else than it should."""
    return BenchError(f"{path} is not what was written there: remove it and run the command that writes it again")
