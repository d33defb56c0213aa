"""SA-1B as published, photos and masks without classes, in batches that depend on their number alone.

Section 4.1: finetuning takes up to 64 masks an image, squashed to a square and not augmented.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image, ImageFile

from bench.data.catalog import FOLDER_SETS
from bench.data.images import ends_in_zeros, is_8_bit
from bench.data.masks import to_mask
from bench.data.tars import COMPRESSED, open_shards
from models.errors import BenchError, MissingData

EXTENSIONS = ("jpg", "json")
TRIES = 1000
"""Samples tried in place of one that is broken."""
_TARS, _SAMPLES, _MASKS, _INSTEAD = range(4)
"""Domains of seeds."""


class MaskBatch(TypedDict):
    """What one step of promptable training sees."""

    images: np.ndarray
    """uint8 [B, 3, S, S] RGB."""
    masks: np.ndarray
    """bool [B, P, S, S]."""


class BrokenSample(Exception):
    """A photo or annotations that cannot be used; the message is the reason, without names."""


class Sa1bBatches:
    """Batch `micro` of SA-1B: the same for the same seed, whatever came before, so resuming is exact and at once.

    In each epoch tars come in another order, and the samples of each tar too. A sample that is broken is replaced
    by another one and counted in `skipped`, by what is wrong with it.

    Args:
        tars: published tars, and folders of tars or of unpacked sa_N.jpg and sa_N.json.
        images_per_batch: B.
        masks: P, masks of an image; drawn without replacement where there are as many.
        size: S, px; photos and masks are squashed to S x S, as EfficientSAM does.
        seed: of the order and the masks.
        log: file that gets a line of JSON for each broken sample, from all processes that read.

    Raises:
        BenchError: if there is no sample at all.
    """

    def __init__(
        self,
        tars: Sequence[Path],
        *,
        images_per_batch: int,
        masks: int,
        size: int,
        seed: int,
        log: Path | None = None,
    ) -> None:
        self._log = log
        self.images_per_batch, self.masks, self.size, self.seed = images_per_batch, masks, size, seed
        self._shards = [shard for shard in open_shards(tars, EXTENSIONS)]
        self._starts = [0, *accumulate(map(len, self._shards))]
        self._broken: dict[int, str] = {}
        if not len(self):
            raise nothing_there(tars, self.skipped)

    def __len__(self) -> int:
        """Return the number of samples, those that will turn out to be broken too."""
        return self._starts[-1]

    @property
    def skipped(self) -> Counter[str]:
        """What was left out so far: reason and how often; without a log, only what this process came upon."""
        broken = Counter(self._broken.values())
        if self._log is not None and self._log.is_file():
            lines = set(self._log.read_text().splitlines())  # two processes may come upon one sample
            broken = Counter(json.loads(line)["reason"] for line in lines)
        return sum((shard.skipped for shard in self._shards), broken)

    def __getitem__(self, micro: int, /) -> MaskBatch:
        """Return a batch.

        Raises:
            BenchError: if no sample can be used.
        """
        first = micro * self.images_per_batch
        samples = [self._usable(position) for position in range(first, first + self.images_per_batch)]
        images, masks = zip(*samples, strict=True)
        return {"images": np.stack(images), "masks": np.stack(masks)}

    def _usable(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the sample at a position of all epochs, or one in its stead."""
        for sample in self._candidates(position):
            if sample in self._broken:
                continue
            shard = int(np.searchsorted(self._starts, sample, side="right")) - 1
            rng = np.random.default_rng((self.seed, _MASKS, position))
            try:
                files = self._shards[shard].read(sample - self._starts[shard])
                return decode_sample(files["jpg"], files["json"], masks=self.masks, size=self.size, rng=rng)
            except BrokenSample as problem:
                self._broken[sample] = str(problem)
                self._note(self._shards[shard].name(sample - self._starts[shard]), str(problem))
        raise BenchError(
            f"no usable sample is left among {min(TRIES + 1, len(self)):,} of {len(self):,} that were tried "
            f"({_listed(self.skipped)}): check the download of {self._shards[0].path.parent}"
        )

    def _note(self, sample: str, reason: str) -> None:
        if self._log is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a") as file:  # one short write a line, so that lines of processes do not mix
                file.write(json.dumps({"sample": sample, "reason": reason}) + "\n")

    def _candidates(self, position: int) -> Iterator[int]:
        epoch, place = divmod(position, len(self))
        order, starts = self._epoch(epoch)
        turn = int(np.searchsorted(starts, place, side="right")) - 1
        shard = int(order[turn])
        yield self._starts[shard] + int(self._samples(epoch, shard)[place - starts[turn]])
        rng = np.random.default_rng((self.seed, _INSTEAD, position))
        yield from rng.choice(len(self), size=min(TRIES, len(self)), replace=False).tolist()

    @lru_cache(maxsize=2)  # noqa: B019 - as long-lived as the training
    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the order of the shards in an epoch and the positions at which they begin, and the end."""
        order = np.random.default_rng((self.seed, _TARS, epoch)).permutation(len(self._shards))
        return order, np.cumsum([0, *(len(self._shards[shard]) for shard in order)])

    @lru_cache(maxsize=4)  # noqa: B019
    def _samples(self, epoch: int, shard: int) -> np.ndarray:
        """Return the order of a shard's samples in an epoch."""
        return np.random.default_rng((self.seed, _SAMPLES, epoch, shard)).permutation(len(self._shards[shard]))


def decode_sample(
    photo: bytes, annotations: bytes, *, masks: int, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo uint8 [3, S, S] and masks bool [P, S, S], both squashed to a square of side `size`.

    Args:
        photo: JPEG.
        annotations: SA-1B's JSON.
        masks: P; if fewer have a pixel left, some come up again.
        size: S, px.
        rng: draws the masks.

    Raises:
        BrokenSample: if the photo or the annotations cannot be read, do not fit each other, or no mask has a pixel.
    """
    image = _photo(photo)
    segmentations = _segmentations(annotations)
    found: list[np.ndarray] = []
    for number in rng.permutation(len(segmentations)).tolist():
        mask = _squashed(segmentations[number], image.height, image.width, size)
        if mask.any():
            found.append(mask)
        if len(found) == masks:
            break
    if not found:
        raise BrokenSample("all masks are empty" if segmentations else "no masks")
    again = rng.integers(len(found), size=masks - len(found)).tolist()
    pixels = np.asarray(_squash(image, size)).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels), np.stack(found + [found[number] for number in again])


def nothing_there(paths: Sequence[Path], skipped: Counter[str]) -> BenchError:
    """Return the error for a set without a sample."""
    places = ", ".join(map(str, paths)) or "the list of archives"
    if skipped:
        remedy = "decompress it (gunzip)" if set(skipped) == {COMPRESSED} else "download it again"
        return BenchError(f"{places}: no photo with annotations is whole ({_listed(skipped)}): {remedy}")
    return MissingData(f"no tar and no sa_N.jpg with sa_N.json in {places}: {FOLDER_SETS['sa1b'].how} a folder")


def _listed(skipped: Counter[str]) -> str:
    return ", ".join(f"{count:,} x {reason}" for reason, count in skipped.most_common())


def _photo(content: bytes) -> Image.Image:
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # as in bench.data.images
    if ends_in_zeros(content):
        raise BrokenSample("photo that is broken or cut short")
    try:
        image = Image.open(io.BytesIO(content), formats=["JPEG", "PNG"])
        if is_8_bit(image):
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise BrokenSample("photo that is broken or cut short") from None
    raise BrokenSample("photo of more than 8 bits a channel")


def _segmentations(content: bytes) -> list[dict[str, object]]:
    try:
        entries = json.loads(content)["annotations"]
        return [dict(entry["segmentation"]) for entry in entries]
    except (ValueError, KeyError, TypeError):
        raise BrokenSample("annotations that are malformed or cut short") from None


def _squashed(segmentation: dict[str, object], height: int, width: int, size: int) -> np.ndarray:
    """Return a mask bool [S, S]: the pixel at the centre of each cell."""
    if segmentation.get("size") not in (None, [height, width]):
        raise BrokenSample("mask of another size than its photo")
    try:
        mask = to_mask(segmentation, height, width)
    except (BenchError, ValueError, KeyError, TypeError):
        raise BrokenSample("mask that is malformed") from None
    rows, columns = (((2 * np.arange(size) + 1) * side // (2 * size)) for side in (height, width))
    return mask[rows[:, None], columns]


def _squash(image: Image.Image, size: int) -> Image.Image:
    """Resize to a square as torch's bilinear interpolation does, without a filter against aliasing.

    Source: EfficientSAM's preprocessing; Pillow's own resize would smooth.
    """
    scale = (image.width / size, 0, 0, 0, image.height / size, 0)
    return image.transform((size, size), Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR)
