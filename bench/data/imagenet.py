"""ImageNet-1K as its publisher lays it out: `imagenet/<split>/<wnid>/*`, a folder for each class."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.data.images import read_rgb
from models.errors import BenchError, MissingData

SUFFIXES = (".jpeg", ".jpg", ".png")
CLASSES = 1000


@dataclass(frozen=True)
class ImageFolder:
    """Labelled photos; `photos[i]` is uint8 [H, W, 3]."""

    root: Path
    paths: tuple[Path, ...]
    labels: np.ndarray
    """int64 [N]."""
    wnids: tuple[str, ...]
    """Folder of each label."""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        """Read a photo.

        Raises:
            BenchError: if it is broken, naming it.
        """
        return read_rgb(self.paths[index])

    @cached_property
    def sha256(self) -> str:
        """Hash of the photos' names and sizes."""
        lines = (f"{path.relative_to(self.root)} {path.stat().st_size}\n" for path in self.paths)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def open_imagenet(root: Path, split: str = "val") -> ImageFolder:
    """Open the labelled photos of a split.

    Labels are indices into the sorted wnids. Where only some of ImageNet's classes are there, they keep the labels
    they have among all thousand.

    Raises:
        MissingData: if there is no such folder.
        BenchError: if it is empty, or a folder is no class of ImageNet beside others that are.
    """
    folder = root / "imagenet" / split
    if not folder.is_dir():
        raise MissingData(f"there is no {folder}: put ImageNet's {split} photos there, a folder for each wnid")
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    wnids = _all_wnids(found, folder)
    paths, labels = [], []
    for wnid in found:
        photos = sorted(path for path in (folder / wnid).iterdir() if path.suffix.lower() in SUFFIXES)
        paths += photos
        labels += [wnids.index(wnid)] * len(photos)
    if not paths:
        raise BenchError(f"{folder} holds no photo ({', '.join(SUFFIXES)}): check the path")
    return ImageFolder(root, tuple(paths), np.array(labels, dtype=np.int64), wnids)


def _all_wnids(found: list[str], folder: Path) -> tuple[str, ...]:
    """Return the wnids that labels count: all of ImageNet's if these are some of them."""
    from timm.data import ImageNetInfo

    known = tuple(ImageNetInfo("imagenet-1k").label_names())
    strange = [wnid for wnid in found if wnid not in set(known)]
    if not strange:
        return known
    if len(strange) < len(found):
        raise BenchError(f"{folder / strange[0]} is no class of ImageNet-1K: move it elsewhere")
    return tuple(found)
