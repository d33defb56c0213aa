"""Writing features: crops are read, the teacher is asked, shards appear whole."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from bench.data.training.crops import Images, crop_of, crop_to
from bench.data.training.feature_cache.layout import (
    ABOUT,
    BLOCK,
    SHARD_SAMPLES,
    About,
    compare,
    disk_need,
    is_whole,
    key_of,
    read_about,
    shard_path,
)
from bench.progress import progress
from models.errors import BenchError

_LARGEST_FLOAT16 = float(np.finfo(np.float16).max)


class Teacher(Protocol):
    """What makes the features; it computes without gradients."""

    def __call__(self, pixels: np.ndarray, /) -> Any:
        """Return features [B, N, C], a tensor or an array, of crops uint8 [B, 3, S, S]."""


class CropsOfBatch(NamedTuple):
    """Input of one call of the teacher."""

    pixels: np.ndarray
    """uint8 [B, 3, S, S]."""
    samples: tuple[dict[str, Any], ...]
    """Of each: index, view, the crop's fields, seed."""


OrderedMap = Callable[[Callable[[range], CropsOfBatch], Iterable[range]], Iterator[CropsOfBatch]]
"""`map`, or one that reads ahead in other processes."""


def write_features(
    images: Images,
    teacher: Teacher,
    folder: Path,
    *,
    views: int,
    seed: int,
    scale: tuple[float, float],
    size: int,
    batch: int,
    teacher_sha256: str,
    photos: str = "",
    shard_samples: int = SHARD_SAMPLES,
    rank: int = 0,
    world: int = 1,
    ordered_map: OrderedMap = map,
) -> None:
    """Write the features of all views of all images, going on where an earlier call was stopped.

    Shards are written whole or not at all, so a killed writer loses at most the one it was at.

    Args:
        images: the photos.
        teacher: makes the features.
        folder: of the cache, made if it is not there.
        views: crops of each photo.
        seed: of the crops.
        scale: range of the crops' area, as a share of the photo's.
        size: side of the crops, px.
        batch: crops in one call of the teacher.
        teacher_sha256: identity of the teacher.
        photos: what tells these photos from as many others, e.g. a hash of their names.
        shard_samples: samples in a shard.
        rank: number of this process among `world`, which share the shards.
        world: processes that write into `folder`.
        ordered_map: how crops are read.

    Raises:
        BenchError: if the folder holds other features, the disk is too small, a photo is broken, or a feature is
            no finite float16.
    """
    tokens, width = _array(teacher(np.zeros((1, 3, size, size), np.uint8)), 1).shape[1:]
    about = About(len(images), views, seed, scale, size, teacher_sha256, tokens, width, shard_samples, photos)
    _claim(folder, about)
    todo = [
        (number, samples)
        for number, samples in enumerate(about.shards())
        if number % world == rank and not is_whole(shard_path(folder, number), about, samples)
    ]
    _check_room(folder, about, sum(len(samples) for _, samples in todo))
    reader = _Reader(images, about)
    share = sum(len(samples) for samples in about.shards()[rank::world])
    done = share - sum(len(samples) for _, samples in todo)
    parts = [[s[start : start + batch] for start in range(0, len(s), batch)] for _, s in todo]
    crops = ordered_map(reader, itertools.chain.from_iterable(parts))
    with progress("writing features", total=share, unit="crops", done=done) as advance:
        for (number, _), of_shard in zip(todo, parts, strict=True):
            batches = itertools.islice(crops, len(of_shard))
            _write_shard(shard_path(folder, number), teacher, batches, advance)


class _Reader:
    """Reads the crops of a range of samples; a photo with several of them is decoded once."""

    def __init__(self, images: Images, about: About) -> None:
        self.images, self.about = images, about

    def __call__(self, numbers: range) -> CropsOfBatch:
        about = self.about
        last, image = -1, np.zeros((0, 0, 3), np.uint8)
        pixels, samples = [], []
        for number in numbers:
            index, view = divmod(number, about.views)
            if index != last:
                last, image = index, self.images[index]
            crop = crop_of(about.seed, index, view, image.shape[0], image.shape[1], about.scale)
            pixels.append(crop_to(image, crop, about.size))
            samples.append({"index": index, "view": view, **crop._asdict(), "seed": about.seed})
        return CropsOfBatch(np.stack(pixels), tuple(samples))


def _write_shard(path: Path, teacher: Teacher, batches: Iterator[CropsOfBatch], advance: Callable[[int], None]) -> None:
    from bench.store.disk import write_whole  # the store imports pandas, which readers of features can do without

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for pixels, samples in batches:
            for sample, features in zip(samples, _array(teacher(pixels), len(samples)), strict=True):
                _add_sample(tar, sample, features)
            advance(len(samples))
    write_whole(path, content.getvalue())


def _add_sample(tar: tarfile.TarFile, sample: dict[str, Any], features: np.ndarray) -> None:
    key = key_of(sample["index"], sample["view"])
    npy = io.BytesIO()
    np.lib.format.write_array(npy, features, version=(1, 0))
    crop = json.dumps(sample).encode()
    assert len(crop) <= BLOCK, "samples would differ in size"
    for name, data in ((f"{key}.features.npy", npy.getvalue()), (f"{key}.crop.json", crop)):
        info = tarfile.TarInfo(name)
        info.size = len(data)
        info.uname = f"{zlib.crc32(data):08x}"
        tar.addfile(info, io.BytesIO(data))


def _array(features: Any, count: int) -> np.ndarray:
    """Return a teacher's answer as float16 [count, N, C].

    Raises:
        BenchError: if it has another shape, or a number that float16 has no place for.
    """
    if hasattr(features, "detach"):  # a tensor, maybe bfloat16 on a GPU
        features = features.detach().float().cpu().numpy()
    if features.ndim != 3 or len(features) != count:
        raise BenchError(f"the teacher made features {features.shape} of {count} crops: it has to make [B, N, C]")
    worst = np.abs(features).max()
    if not worst <= _LARGEST_FLOAT16:  # also true of nan
        raise BenchError(
            f"the teacher made a feature of {worst}, which float16 cannot hold: run it in full precision, or train "
            "with the teacher instead of its features"
        )
    return np.ascontiguousarray(features, dtype=np.float16)


def _claim(folder: Path, about: About) -> None:
    """Write what the folder is going to hold, or compare it with what it holds."""
    from bench.store.disk import disk_errors, sweep, write_whole

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    if (folder / ABOUT).exists():
        compare(folder, read_about(folder), asdict(about))
    else:
        write_whole(folder / ABOUT, (json.dumps(asdict(about), indent=1) + "\n").encode())


def _check_room(folder: Path, about: About, samples: int) -> None:
    """Say how much will be written, and refuse if the disk has no room for it."""
    need = disk_need(samples, 1, about.tokens, about.width)
    free = shutil.disk_usage(folder).free
    print(
        f"features of {samples:,} crops, float16 [{about.tokens}, {about.width}] each: {need / 1e9:,.3g} GB "
        f"in {folder}, which has {free / 1e9:,.3g} GB free",
        file=sys.stderr,
    )
    if need > free:
        raise BenchError(
            f"{folder} has {free / 1e9:,.3g} GB free but the features need {need / 1e9:,.3g} GB: make room, name a "
            "folder on another disk, or lower the number of views"
        )
