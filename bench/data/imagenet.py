"""ImageNet: one folder a class, named by its WordNet id as published, or by its number; labelled photos by number."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from bench.data.catalog import FOLDER_SETS
from bench.data.images import read_rgb
from bench.data.photos import Files
from models.errors import BenchError, MissingData

SUFFIXES = (".jpeg", ".jpg", ".png")
CLASSES = 1000
_WORDNET_ID = re.compile(r"n[0-9]{8}")
_NUMBER = re.compile(r"[0-9]+")
OFFICIAL = "WordNet ids, each one's place among the thousand classes"
NUMBERS = "the numbers that the folders are named by"
SORTED = "places in the sorted list of the folders' names"
"""What labels are."""


class LabelledPhotos:
    """The photos of one split, sorted by class and name; `photos[i]` is uint8 [H, W, 3]."""

    def __init__(self, folder: Path, labelling: str, label: Mapping[str, int], files: list[str]) -> None:
        """See `open_imagenet`.

        Args:
            folder: of the split.
            labelling: what labels are.
            label: of each class's folder, ascending.
            files: `<wnid>/<name>`, sorted by label and name.
        """
        self.folder = folder
        self.labelling = labelling
        """OFFICIAL, NUMBERS or SORTED."""
        self.wnids = tuple(label)
        """The folders of the classes by label, those without a photo too."""
        self.labels = np.array([label[file.split("/")[0]] for file in files], dtype=np.int64)
        """int64 [N]."""
        self.paths = Files(folder, [os.fsencode(file) for file in files])
        """N files."""

    def check_official(self) -> None:
        """Raise a BenchError if labels are not those that models of ImageNet-1K know."""
        if self.labelling == SORTED:
            raise BenchError(
                f"{self.folder} has folders of other names ('{self.wnids[0]}') than WordNet ids or numbers 0 to "
                f"{CLASSES - 1}, so that nobody knows which of ImageNet-1K's classes they are: rename them"
            )

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.labels)

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Read a photo, uint8 [H, W, 3].

        Raises:
            BenchError: if it is broken, naming it.
        """
        return read_rgb(self.paths[index])

    @cached_property
    def sha256(self) -> str:
        """Hash of the photos' names and sizes in bytes; that of 50,000 contents would take minutes.

        A photo that is as long as it should be but broken inside is found when it is read.
        """
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(f"{path.parent.name}/{path.name} {path.stat().st_size}\n".encode())
        return digest.hexdigest()


def open_imagenet(root: Path | str, split: str = "val") -> LabelledPhotos:
    """Open root/imagenet/<split>/<wnid>/*.JPEG, the whole set or some of it.

    The label of a WordNet id is its place among ImageNet-1K's thousand, however many are there; that of a number is
    the number. Folders of other names, as the dead leaves', are numbered in sorted order, as torchvision does.

    Raises:
        BenchError: if there is no such folder, it has no photo, or its folders' names are no labels.
    """
    folder = Path(root) / "imagenet" / split
    if not folder.is_dir():
        raise MissingData(f"{folder} is not there: {FOLDER_SETS['imagenet'].how} {folder.parent}, or use --scale micro")
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    labelling, label = _labels(folder, names)
    files = [f"{wnid}/{name}" for wnid in label for name in sorted(os.listdir(folder / wnid)) if _is_photo(name)]
    if not files:
        raise MissingData(
            f"{folder} has no photo ({', '.join(SUFFIXES)}) in a class's folder: sort the published photos into one "
            "folder a class"
        )
    return LabelledPhotos(folder, labelling, label, files)


def _is_photo(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _labels(folder: Path, names: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Return what labels are, and that of each folder, ascending."""
    if any(map(_WORDNET_ID.fullmatch, names)):
        return OFFICIAL, _official(folder, names)
    if any(map(_NUMBER.fullmatch, names)):
        return NUMBERS, _numbered(folder, names)
    for first, second in pairwise(names):
        if _numbers_descend(first, second):
            raise BenchError(
                f"{folder} has the folders '{first}' and '{second}', sorted as text in another order than by number: "
                "name each by its WordNet id, or by its number alone"
            )
    return SORTED, {name: label for label, name in enumerate(names)}


def _official(folder: Path, names: Sequence[str]) -> dict[str, int]:
    from timm.data.imagenet_info import ImageNetInfo  # not above: it imports torch, two seconds

    label = {wnid: number for number, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names())}
    _refuse(folder, [name for name in names if name not in label], "is no class of ImageNet-1K")
    return {name: label[name] for name in names}


def _numbered(folder: Path, names: Sequence[str]) -> dict[str, int]:
    strangers = [name for name in names if not _NUMBER.fullmatch(name) or int(name) >= CLASSES]
    _refuse(folder, strangers, f"is no number of a class, 0 to {CLASSES - 1}, as the folders beside it are")
    label = {name: int(name) for name in sorted(names, key=int)}
    for first, second in pairwise(label):
        if label[first] == label[second]:
            raise BenchError(f"{folder} has two folders of class {label[first]}, '{first}' and '{second}': merge them")
    return label


def _refuse(folder: Path, strangers: Sequence[str], why: str) -> None:
    if strangers:
        more = f", nor are {len(strangers) - 1:,} other folders" if len(strangers) > 1 else ""
        raise BenchError(f"{folder / strangers[0]} {why}{more}: move away what is not of the set")


def _numbers_descend(first: str, second: str) -> bool:
    """Return whether two names first differ in a number, and the first one's is larger.

    >>> _numbers_descend("10_cock", "2_shark"), _numbers_descend("02_shark", "10_cock")
    (True, False)
    """
    # Every other part is a number.
    both = zip(re.split("([0-9]+)", first), re.split("([0-9]+)", second), strict=False)
    place, (one, other) = next(((k, pair) for k, pair in enumerate(both) if pair[0] != pair[1]), (0, ("", "")))
    return place % 2 == 1 and int(one) > int(other)
