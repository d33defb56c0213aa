"""A folder of photos, whatever its subfolders: pretraining needs no labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.data.images import read_rgb
from models.errors import BenchError, MissingData

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class Files:
    """Files below a folder by number: `files[i]` is a path.

    Names are an array of bytes: a list of a million strings would be copied page by page into every reading process.
    """

    def __init__(self, folder: Path, names: list[bytes]) -> None:
        self.folder, self.names = folder, np.array(names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Path:
        return self.folder / os.fsdecode(bytes(self.names[index]))

    def __iter__(self) -> Iterator[Path]:
        return map(self.__getitem__, range(len(self)))


class PhotoFolder:
    """The photos below a folder, numbered in the order of their paths; `photos[i]` is uint8 [H, W, 3].

    Raises:
        BenchError: if there are none; when one is read that is broken, naming it.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise MissingData(f"there is no folder of photos {folder}: give --data, or set BENCH_DATA")
        names = [
            os.path.relpath(os.path.join(place, name), folder)
            for place, _, files in os.walk(folder, followlinks=True)
            for name in files
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
        if not names:
            raise BenchError(f"{folder} and its subfolders hold no photo ({', '.join(SUFFIXES)}): check the path")
        self.paths = Files(folder, sorted(map(os.fsencode, names)))

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.paths)

    def names_sha256(self) -> str:
        """Return a hash of the photos' names, which tells this folder's from as many others."""
        return hashlib.sha256(b"\0".join(self.paths.names.tolist())).hexdigest()

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Read a photo, uint8 [H, W, 3]."""
        return read_rgb(self.paths[index])
