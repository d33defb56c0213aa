"""A folder of photos, whatever its subfolders: pretraining needs no labels."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from bench.data.images import read_rgb
from models.errors import BenchError, MissingData

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


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
        self.folder = folder
        # An array of bytes: a list of a million strings would be copied page by page into every reading process.
        self._names = np.array(sorted(os.fsencode(name) for name in names))

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self._names)

    def names_sha256(self) -> str:
        """Return a hash of the photos' names, which tells this folder's from as many others."""
        return hashlib.sha256(b"\0".join(self._names.tolist())).hexdigest()

    def path(self, index: int) -> Path:
        """Return where a photo is."""
        return self.folder / os.fsdecode(bytes(self._names[index]))

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Read a photo, uint8 [H, W, 3]."""
        return read_rgb(self.path(index))
