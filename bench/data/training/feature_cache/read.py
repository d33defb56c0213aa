"""Reading features at random."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.training.feature_cache.layout import (
    ABOUT,
    BLOCK,
    CHECKSUM,
    changed,
    compare,
    is_whole,
    key_of,
    npy_bytes,
    read_about,
    shard_path,
    stride,
)
from models.errors import BenchError


class FeatureCache:
    """The features of a folder; `cache[index, view]` is float16 [N, C].

    Holds no open files, so it may be sent to other processes.

    Raises:
        BenchError: if the folder is no cache, or not whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.about = folder, read_about(folder)
        shards = self.about.shards()
        missing = [n for n, samples in enumerate(shards) if not is_whole(shard_path(folder, n), self.about, samples)]
        if missing:
            raise BenchError(
                f"{folder} has {len(shards) - len(missing)} of {len(shards)} shards of features, "
                f"{shard_path(folder, missing[0]).name} is not whole: run the command that writes them again"
            )
        self._stride = stride(self.about.tokens, self.about.width)
        self._npy = npy_bytes(self.about.tokens, self.about.width)

    @staticmethod
    def is_finished(folder: Path) -> bool:
        """Whether a folder holds all the features it was made for; False also if there is none."""
        if not (folder / ABOUT).is_file():
            return False
        about = read_about(folder)
        return all(is_whole(shard_path(folder, n), about, samples) for n, samples in enumerate(about.shards()))

    def __getitem__(self, key: tuple[int, int], /) -> np.ndarray:
        """Return the features float16 [N, C] of view `key[1]` of image `key[0]`, mapped from the disk.

        Raises:
            BenchError: if there is no such image or view, or the shard was changed.
        """
        (index, view), about = key, self.about
        if not (0 <= index < about.images and 0 <= view < about.views):
            raise BenchError(
                f"{self.folder} has {about.views} views of {about.images} images, not view {view} of image {index}: "
                "write the features again with more views, or lower the recipe's"
            )
        number, position = divmod(index * about.views + view, about.shard_samples)
        path = shard_path(self.folder, number)
        try:
            sample = np.memmap(path, np.uint8, "r", offset=position * self._stride, shape=(self._stride,))
        except (OSError, ValueError) as error:
            raise changed(path) from error
        name = f"{key_of(index, view)}.features.npy".encode()
        if sample[: len(name) + 1].tobytes() != name + b"\0":
            raise changed(path)
        end = BLOCK + self._npy
        checksum = sample[CHECKSUM].tobytes().rstrip(b"\0")  # none in caches of earlier versions
        if checksum and checksum != f"{zlib.crc32(sample[BLOCK:end].tobytes()):08x}".encode():
            raise changed(path)
        content = np.asarray(sample)[end - 2 * about.tokens * about.width : end]
        return content.view(np.float16).reshape(about.tokens, about.width)

    def check(self, **wanted: Any) -> None:
        """Make sure that these are the features of the crops that a training will see, told by fields of `About`.

        Raises:
            BenchError: naming what they were made with instead.
        """
        compare(self.folder, self.about, wanted)
