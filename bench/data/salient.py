"""Photos with a mask of the salient object each, as ECSSD and DUTS are published, or of one's own."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.images import BROKEN, read_rgb
from bench.data.photos import SUFFIXES
from models.errors import BenchError, MissingData

LAYOUTS = {
    "salient": ("salient/images", "salient/masks"),
    "ECSSD": ("ECSSD/images", "ECSSD/ground_truth_mask"),
    "DUTS-TE": ("DUTS-TE/DUTS-TE-Image", "DUTS-TE/DUTS-TE-Mask"),
}
"""Folders of photos and of masks under the data root, by name of the set; the first that is there is taken."""
PUBLISHED = {"ECSSD": 1_000, "DUTS-TE": 5_019}
"""Photos of the published sets."""
WAY_TO_GET = (
    "put photos and PNGs of the same names, white where the object is, into salient/images and salient/masks there, or "
    "unpack ECSSD or DUTS-TE as docs/salient.md says"
)
OBJECT_ABOVE = 128
"""Grey value of a mask above which a pixel is of the object (PySODMetrics)."""


class SalientPhotos:
    """Photos sorted by name; `photos[i]` is (photo, truth). See `open_salient`."""

    def __init__(self, name: str, paths: list[Path], mask_paths: list[Path]) -> None:
        self.name = name
        """Of the set."""
        self.paths, self.mask_paths = tuple(paths), tuple(mask_paths)

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.paths)

    def __getitem__(self, index: int, /) -> tuple[np.ndarray, np.ndarray]:
        """Read a photo, uint8 [H, W, 3], and the pixels of its salient object, bool [H, W].

        Raises:
            BenchError: if either is broken, or the mask is of another size.
        """
        photo = read_rgb(self.paths[index])
        mask = _read_mask(self.mask_paths[index])
        if mask.shape != photo.shape[:2]:
            raise BenchError(
                f"{self.mask_paths[index]} is {mask.shape[0]} x {mask.shape[1]} (height x width) but its photo is "
                f"{photo.shape[0]} x {photo.shape[1]}: restore the published files"
            )
        return photo, mask

    @cached_property
    def sha256(self) -> str:
        """Hash of the names and sizes in bytes of photos and masks; that of all contents would take long."""
        files = (path for pair in zip(self.paths, self.mask_paths, strict=True) for path in pair)
        listed = "".join(f"{path.name} {path.stat().st_size}\n" for path in files)
        return hashlib.sha256(listed.encode()).hexdigest()


def open_salient(root: Path) -> SalientPhotos:
    """Open the first set of `LAYOUTS` that is under a data root; masks are PNGs of the photos' names.

    Raises:
        MissingData: if none is there.
        BenchError: if its folder of photos is empty, or photos have no mask.
    """
    for name, (images, masks) in LAYOUTS.items():
        if (root / images).is_dir():
            return _open(name, root / images, root / masks)
    raise MissingData(f"{root} has no photos with masks of salient objects: {WAY_TO_GET}, or use --scale micro")


def _open(name: str, images: Path, masks: Path) -> SalientPhotos:
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not paths:
        raise MissingData(f"{images} has no photo ({', '.join(SUFFIXES)}): unpack the archive again")
    mask_paths = [masks / f"{path.stem}.png" for path in paths]
    without = [path for path in mask_paths if not path.is_file()]
    if without:
        raise BenchError(
            f"{len(without):,} of {len(paths):,} photos of {images} have no mask, the first of these is {without[0]}: "
            "unpack the archive again, or give each photo a PNG of its name"
        )
    return SalientPhotos(name, paths, mask_paths)


def _read_mask(path: Path) -> np.ndarray:
    """Read which pixels are of the object, bool [H, W].

    Raises:
        BenchError: if the file is absent or broken.
    """
    try:
        with Image.open(path) as image:
            return np.array(image.convert("L")) > OBJECT_ABOVE
    except FileNotFoundError:
        raise BenchError(f"{path} is not there: unpack the archive of masks again") from None
    except BROKEN as error:
        raise BenchError(f"{path} is broken or cut short ({error}): unpack the archive of masks again") from error
