"""ImageNet as it is published: one folder a class, named by its WordNet id; labelled photos by number."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from bench.data.images import read_rgb
from bench.data.published import FOLDER_SETS
from models.errors import BenchError, MissingData

SUFFIXES = (".jpeg", ".jpg", ".png")
_WORDNET_ID = re.compile(r"n\d{8}")


class LabelledPhotos:
    """The photos of one split, sorted by class and name; `photos[i]` is uint8 [H, W, 3]."""

    def __init__(self, folder: Path, wnids: tuple[str, ...], classes: np.ndarray, files: list[str]) -> None:
        """See `open_imagenet`.

        Args:
            folder: of the split.
            wnids: the classes' folders, sorted.
            classes: int64, the label of each folder.
            files: `<wnid>/<name>`, sorted.
        """
        self.folder = folder
        self.wnids = wnids
        """The folders of the classes, sorted, those without a photo too."""
        label = dict(zip(wnids, classes.tolist(), strict=True))
        self.labels = np.array([label[file.split("/")[0]] for file in files], dtype=np.int64)
        """int64 [N]."""
        self.paths: Sequence[Path] = _Paths(folder, files)
        """N files."""

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


class _Paths(Sequence[Path]):
    """Files of a folder; an array of bytes, since a million strings are copied into every process that reads."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder = folder
        self._names = np.array([os.fsencode(name) for name in names])

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._folder / os.fsdecode(bytes(self._names[index]))


def open_imagenet(root: Path | str, split: str = "val") -> LabelledPhotos:
    """Open root/imagenet/<split>/<wnid>/*.JPEG, the whole set or some of it.

    The label of a WordNet id is its place among ImageNet-1K's thousand, however many are there; folders of other
    names, as the dead leaves', are numbered in sorted order, as torchvision does.

    Raises:
        BenchError: if there is no such folder, it has no photo, or a folder is no class of ImageNet-1K.
    """
    folder = Path(root) / "imagenet" / split
    if not folder.is_dir():
        raise MissingData(f"{folder} is not there: {FOLDER_SETS['imagenet'].how} {folder.parent}, or use --scale micro")
    with os.scandir(folder) as entries:
        wnids = tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))
    files = [f"{wnid}/{name}" for wnid in wnids for name in sorted(os.listdir(folder / wnid)) if _is_photo(name)]
    if not files:
        raise MissingData(
            f"{folder} has no photo ({', '.join(SUFFIXES)}) in a class's folder: sort the published photos into one "
            "folder a class"
        )
    return LabelledPhotos(folder, wnids, _classes(folder, wnids), files)


def _is_photo(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _classes(folder: Path, wnids: tuple[str, ...]) -> np.ndarray:
    """Return the label of each folder, int64."""
    if not any(map(_WORDNET_ID.fullmatch, wnids)):
        return np.arange(len(wnids))
    from timm.data.imagenet_info import ImageNetInfo  # not above: it imports torch, two seconds

    label = {wnid: number for number, wnid in enumerate(ImageNetInfo("imagenet-1k").label_names())}
    strangers = [wnid for wnid in wnids if wnid not in label]
    if strangers:
        raise BenchError(
            f"{folder / strangers[0]} is no class of ImageNet-1K, nor are {len(strangers) - 1:,} other folders: "
            "move them away"
        )
    return np.array([label[wnid] for wnid in wnids], dtype=np.int64)
