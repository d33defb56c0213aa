"""Random resized crops and flips as pure functions of (seed, image, view): teacher and student see the same.

Section 4.1 augments pretraining by random resized crop and flip only.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol, TypedDict

import numpy as np
from PIL import Image

from models.errors import BenchError


class Images(Protocol):
    """Images by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray:
        """Return uint8 [H, W, 3] RGB."""


class Features(Protocol):
    """A teacher's features by image and view."""

    def __getitem__(self, key: tuple[int, int], /) -> np.ndarray:
        """Return float16 [N, C] of (image, view)."""


class Crop(NamedTuple):
    """A rectangle of an image, px, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def random_crop(
    height: int,
    width: int,
    rng: np.random.Generator,
    scale: tuple[float, float],
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Crop:
    """Draw the crop that torchvision's RandomResizedCrop would: ten tries, then the largest centred one.

    Args:
        height: of the image, px.
        width: of the image, px.
        rng: draws area, aspect, place and flip.
        scale: range of the crop's area as a share of the image's.
        ratio: range of its width over its height, log-uniform.
    """
    flip = bool(rng.random() < 0.5)
    for _ in range(10):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return Crop(int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w, flip)
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w = min(width, round(height * aspect))
    h = min(height, round(width / aspect))
    return Crop((height - h) // 2, (width - w) // 2, h, w, flip)


def crop_of(seed: int, image: int, view: int, height: int, width: int, scale: tuple[float, float]) -> Crop:
    """Return view `view` of image number `image`: the same on every machine and in every process."""
    return random_crop(height, width, np.random.default_rng((seed, 2, image, view)), scale)


def crop_to(image: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    """Cut a crop out of an image uint8 [H, W, 3], resize it (Pillow bicubic) and return uint8 [3, size, size]."""
    cut = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    resized = Image.fromarray(np.ascontiguousarray(cut)).resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized).transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[..., ::-1] if crop.flip else pixels)


class _Crops(TypedDict):
    images: np.ndarray
    """uint8 [B, 3, S, S]."""
    indices: np.ndarray
    """int64 [B], numbers of the images."""


class CropBatch(_Crops, total=False):
    """What one step of pretraining sees."""

    labels: np.ndarray
    """int64 [B]."""
    features: np.ndarray
    """float16 [B, N, C], what the teacher makes of these very crops."""


class CropBatches:
    """Batch `step` of crops: the same for the same seed, whatever came before, so resuming is exact.

    Args:
        images: the photos.
        size: side of a crop, px.
        images_per_batch: images of one micro-batch.
        seed: of the order, and of the crops unless `crop_seed` is given.
        scale: area of the crops.
        views: different crops of an image over the whole run, None for ever new ones: epoch e sees view e, or
            e modulo `views`.
        labels: int64 [N], where classes are wanted.
        features: the teacher's features of every (image, view), made with the same crop seed, scale and size.
        crop_seed: of the crops, for runs of other seeds that share cached features.

    Raises:
        BenchError: if there are fewer images than a batch has.
    """

    def __init__(
        self,
        images: Images,
        *,
        size: int,
        images_per_batch: int,
        seed: int,
        scale: tuple[float, float],
        views: int | None = None,
        labels: np.ndarray | None = None,
        features: Features | None = None,
        crop_seed: int | None = None,
    ) -> None:
        if len(images) < images_per_batch:
            raise BenchError(f"a batch of {images_per_batch} needs as many images, there are {len(images)}: lower it")
        self.images, self.size, self.images_per_batch = images, size, images_per_batch
        self.seed, self.scale, self.views = seed, scale, views
        self.crop_seed = seed if crop_seed is None else crop_seed
        self.labels, self.features = labels, features
        self._kept: tuple[int, np.ndarray] | None = None

    def __getitem__(self, step: int) -> CropBatch:
        per_epoch = len(self.images) // self.images_per_batch
        epoch, position = divmod(step, per_epoch)
        chosen = self._order(epoch)[position * self.images_per_batch : (position + 1) * self.images_per_batch]
        view = epoch if self.views is None else epoch % self.views
        batch = CropBatch(images=np.stack([self._crop(int(i), view) for i in chosen]), indices=chosen)
        if self.labels is not None:
            batch["labels"] = self.labels[chosen]
        if self.features is not None:
            batch["features"] = np.stack([self.features[int(i), view] for i in chosen])
        return batch

    def _order(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch, kept until another is asked for: 33 ms for ImageNet's million."""
        if self._kept is None or self._kept[0] != epoch:
            self._kept = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.images))
        return self._kept[1]

    def _crop(self, index: int, view: int) -> np.ndarray:
        image = self.images[index]
        crop = crop_of(self.crop_seed, index, view, image.shape[0], image.shape[1], self.scale)
        return crop_to(image, crop, self.size)
