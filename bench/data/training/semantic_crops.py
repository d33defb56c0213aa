"""Crops of labelled photos to train segmentation on, as pure functions of (seed, micro-batch): resuming is exact.

What mmsegmentation's training pipeline for Mask2Former on ADE20K does (random scale, a crop that no class fills,
flip, colours), without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypedDict

import numpy as np
from PIL import Image

from bench.data.ade20k import IGNORED
from bench.data.images import MEAN_RGB
from models.errors import BenchError

MOST_OF_A_CLASS = 0.75
"""Share of a crop's labelled pixels that one class may have, else another crop is drawn."""
TRIES = 10
PAD = MEAN_RGB
"""Beside photos that are smaller than a crop."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = 32.0, (0.5, 1.5), (0.5, 1.5), 36.0
"""Ranges of SSD's photometric distortion; hue in degrees: the published 18 are of OpenCV's 180 for a full turn."""


class LabelledPhotos(Protocol):
    """Photos by number, with the class of each pixel."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Return uint8 [H, W, 3] RGB and uint8 [H, W], IGNORED where nothing is known."""


class SemanticBatch(TypedDict):
    """What one step sees."""

    images: np.ndarray
    """uint8 [B, 3, S, S] RGB."""
    classes: np.ndarray
    """uint8 [B, S, S]."""


@dataclass(frozen=True, slots=True)
class CropSettings:
    """How crops are drawn."""

    size: int
    """Side S of a crop, px."""
    scales: tuple[float, float]
    """Range of the photo's shorter side over S, once resized."""
    longest: int = 2048
    """Longest side of a resized photo, px."""
    colours: bool = True
    """Whether brightness, contrast, saturation and hue are distorted."""


class SemanticBatches:
    """Batch `step` of crops: the same for the same seed, whatever came before.

    Args:
        photos: with their labels.
        crops: how crops are drawn.
        images_per_batch: photos of one micro-batch.
        seed: of order and crops.

    Raises:
        BenchError: if there are fewer photos than a batch has.
    """

    def __init__(self, photos: LabelledPhotos, crops: CropSettings, *, images_per_batch: int, seed: int) -> None:
        if len(photos) < images_per_batch:
            raise BenchError(f"a batch of {images_per_batch} needs as many photos, there are {len(photos)}: lower it")
        self.photos, self.crops = photos, crops
        self.images_per_batch, self.seed = images_per_batch, seed

    def __getitem__(self, step: int) -> SemanticBatch:
        epoch, position = divmod(step, len(self.photos) // self.images_per_batch)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.photos))
        chosen = order[position * self.images_per_batch : (position + 1) * self.images_per_batch]
        pairs = []
        for place, index in enumerate(chosen.tolist()):
            photo, classes = self.photos[index]
            pairs.append(random_crop(photo, classes, self.crops, np.random.default_rng((self.seed, 1, step, place))))
        return SemanticBatch(
            images=np.stack([image.transpose(2, 0, 1) for image, _ in pairs]),
            classes=np.stack([classes for _, classes in pairs]),
        )


def random_crop(
    photo: np.ndarray, classes: np.ndarray, settings: CropSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a crop of a photo uint8 [H, W, 3] and of its classes uint8 [H, W], both S x S, padded where too small."""
    photo, classes = _scaled(photo, classes, settings, rng)
    top, left = _place(classes, settings.size, rng)
    window = (slice(top, top + settings.size), slice(left, left + settings.size))
    photo, classes = photo[window], classes[window]
    if rng.random() < 0.5:
        photo, classes = photo[:, ::-1], classes[:, ::-1]
    if settings.colours:
        photo = distorted(photo, rng)
    image = np.empty((settings.size, settings.size, 3), dtype=np.uint8)
    image[:] = PAD
    labels = np.full((settings.size, settings.size), IGNORED, dtype=np.uint8)
    height, width = classes.shape
    image[:height, :width], labels[:height, :width] = photo, classes
    return image, labels


def _scaled(
    photo: np.ndarray, classes: np.ndarray, settings: CropSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Resize both so that the shorter side is a random multiple of S: pixels bilinearly, classes to the nearest."""
    height, width = classes.shape
    wanted = settings.size * rng.uniform(*settings.scales) / min(height, width)
    factor = min(wanted, settings.longest / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return (
        np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BILINEAR)),
        np.asarray(Image.fromarray(classes).resize(size, Image.Resampling.NEAREST)),
    )


def _place(classes: np.ndarray, size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw where a crop begins (top, left): ten tries for one that no class fills, then anywhere."""
    height, width = classes.shape
    top = left = 0
    for _ in range(TRIES):
        top, left = int(rng.integers(max(height - size, 0) + 1)), int(rng.integers(max(width - size, 0) + 1))
        counts = np.bincount(classes[top : top + size, left : left + size].ravel(), minlength=256)[:IGNORED]
        if np.count_nonzero(counts) > 1 and counts.max() < MOST_OF_A_CLASS * counts.sum():
            break
    return top, left


def distorted(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue of a photo uint8 [H, W, 3], each in half of the cases.

    SSD's distortion (Liu et al. 2016), contrast always before saturation; hue turns in Pillow's HSV.
    """
    chosen = rng.random(4) < 0.5
    pixels = photo.astype(np.float32)
    if chosen[0]:
        pixels += rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    if chosen[1]:
        pixels *= rng.uniform(*CONTRAST)
    changed = np.clip(pixels, 0, 255).astype(np.uint8)
    if not chosen[2:].any():
        return changed
    hsv = np.array(Image.fromarray(changed).convert("HSV"))
    if chosen[2]:
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(*SATURATION), 0, 255).astype(np.uint8)
    if chosen[3]:
        turn = round(rng.uniform(-HUE, HUE) * 256 / 360)
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + turn) % 256
    return np.array(Image.fromarray(hsv, "HSV").convert("RGB"))
