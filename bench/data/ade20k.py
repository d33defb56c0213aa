"""ADE20K as it is published for scene parsing: photos and maps of labels, 0 for what belongs to no class."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.catalog import FOLDER_SETS
from bench.data.images import BROKEN, read_rgb
from models.errors import BenchError, MissingData

SUFFIXES = (".jpg", ".jpeg", ".png")
CLASSES = 150
"""Of the published set."""
IGNORED = 255
"""Class of pixels that neither train nor count: label 0."""


class SemanticPhotos:
    """Photos of one split with their labels, sorted by name; `photos[i]` is (photo, classes)."""

    def __init__(self, folder: Path, annotations: Path, names: tuple[str, ...], files: list[str]) -> None:
        """See `open_ade20k`.

        Args:
            folder: of the photos.
            annotations: of the label maps, PNGs of the photos' names.
            names: of the classes, label 1 first.
            files: names of the photos, sorted.
        """
        self.names = names
        """C classes."""
        self.paths = tuple(folder / file for file in files)
        """N photos."""
        self.label_paths = tuple(annotations / f"{path.stem}.png" for path in self.paths)
        """N label maps."""

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.paths)

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Read a photo, uint8 [H, W, 3], and the class of each pixel, uint8 [H, W]: 0 .. C - 1, or IGNORED.

        Raises:
            BenchError: if either is broken, the label map is of another size, or has a label of no class.
        """
        photo = read_rgb(self.paths[index])
        return photo, reduced(self.labels(index, photo.shape[:2]))

    def labels(self, index: int, size: tuple[int, ...]) -> np.ndarray:
        """Read the label map of a photo of this (height, width), uint8 [H, W], 0 for no class.

        Raises:
            BenchError: if it is broken, of another size, or has a label of no class.
        """
        labels = read_labels(self.label_paths[index])
        if labels.shape != size:
            raise BenchError(
                f"{self.label_paths[index]} is {labels.shape[0]} x {labels.shape[1]} (height x width) but its photo is "
                f"{size[0]} x {size[1]}: restore the published files"
            )
        largest = int(labels.max(initial=0))
        if largest > len(self.names):
            raise BenchError(
                f"{self.label_paths[index]} has label {largest}, but there are {len(self.names)} classes: restore the "
                "published file, or the objectInfo*.txt that lists the classes"
            )
        return labels

    @cached_property
    def sha256(self) -> str:
        """Hash of the names and sizes in bytes of photos and label maps; that of all contents would take long."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        for pair in zip(self.paths, self.label_paths, strict=True):
            digest.update("".join(f"{path.name} {path.stat().st_size}\n" for path in pair).encode())
        return digest.hexdigest()


def open_ade20k(root: Path | str, split: str = "validation") -> SemanticPhotos:
    """Open root/ade20k/images/<split>/*.jpg with root/ade20k/annotations/<split>/*.png.

    The classes are those that root/ade20k/objectInfo*.txt lists, or without it the published 150.

    Args:
        root: the data root.
        split: training or validation.

    Raises:
        BenchError: if a folder is missing or empty, or photos have no label map.
    """
    top = Path(root) / "ade20k"
    folder, annotations = top / "images" / split, top / "annotations" / split
    for needed in (folder, annotations):
        if not needed.is_dir():
            raise MissingData(f"{needed} is not there: {FOLDER_SETS['ade20k'].how} {top}, or use --scale micro")
    files = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not files:
        raise MissingData(f"{folder} has no photo ({', '.join(SUFFIXES)}): unpack the published archive again")
    photos = SemanticPhotos(folder, annotations, _class_names(top), files)
    unlabelled = [path for path in photos.label_paths if not path.is_file()]
    if unlabelled:
        raise BenchError(
            f"{len(unlabelled):,} of {len(files):,} photos of {folder} have no label map, the first of these is "
            f"{unlabelled[0]}: unpack the published archive again"
        )
    return photos


def read_labels(path: Path) -> np.ndarray:
    """Read a label map, uint8 [H, W], 0 for no class.

    Raises:
        BenchError: if it is absent, broken or has several channels or 16 bits.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("L", "P"):
                raise BenchError(
                    f"{path} has pixels of mode {image.mode}, but a label map is one byte a pixel: restore the "
                    "published file"
                )
            return np.array(image)
    except FileNotFoundError:
        raise BenchError(f"{path} is not there: unpack the published archive again") from None
    except BROKEN as error:
        raise BenchError(f"{path} is broken or cut short ({error}): unpack the published archive again") from error


def reduced(labels: np.ndarray) -> np.ndarray:
    """Return classes from 0 for labels uint8 from 1; label 0, which is no class, becomes IGNORED.

    >>> reduced(np.array([0, 1, 150], np.uint8))
    array([255,   0, 149], dtype=uint8)
    """
    return labels - np.uint8(1)  # 0 wraps around to 255


def _class_names(top: Path) -> tuple[str, ...]:
    """Return the names that objectInfo*.txt lists, or numbers where there is none.

    Raises:
        BenchError: if its lines are not numbered 1, 2, ...
    """
    found = sorted(top.glob("objectInfo*.txt"))
    if not found:
        return tuple(f"class {number}" for number in range(1, CLASSES + 1))
    rows = [line.split("\t") for line in _text(found[0]).splitlines()[1:] if line.strip()]
    if [row[0].strip() for row in rows] != [str(number) for number in range(1, len(rows) + 1)] or len(rows) > 254:
        raise BenchError(f"{found[0]} does not number its classes 1, 2, ..., one a line: restore the published file")
    return tuple(row[-1].strip() for row in rows)


def _text(path: Path) -> str:
    """Read a list of names; spreadsheets write Latin-1, and no metric reads names.

    Raises:
        BenchError: if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path} cannot be read ({error.strerror}): give permission, or restore it") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
