"""Photos as arrays: the stored pixels, all of them, or an error."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from bench.data.depth import bits_per_channel
from models.errors import BenchError, refused

MEAN_RGB = (124, 116, 104)
"""ImageNet's mean in whole values: zero once normalised, to 0.01."""
_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"}
BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What PIL raises for a file that is no whole image."""

_ZEROS = 16
"""Bytes of zeros at a file's end that are worth a look at all of it."""


def read_rgb(path: Path, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Read an image as uint8 [H, W, 3] RGB, as PIL's `convert("RGB")` does.

    EXIF orientation is not applied: annotations are on the stored pixels.

    Args:
        path: a JPEG, a PNG, or whatever else PIL reads with 8 bits a channel.
        size: (height, width) that the annotation file states.

    Raises:
        BenchError: if the file is absent, cut short, broken, of another size or of more than 8 bits a channel.
    """
    # Libraries that train detectors turn this on for the whole process; grey stripes would then be scored.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with _opened(path, size) as image:
        return np.array(image.convert("RGB"))


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) from an image's header, without decoding it.

    Raises:
        BenchError: if the file is absent, not an image, or of more than 8 bits a channel.
    """
    with _opened(path, None) as image:
        return image.height, image.width


def ends_in_zeros(content: bytes) -> bool:
    """Return whether a JPEG has zeros in place of its last part, as a download has that was given its space first.

    With Huffman tables of its own, libjpeg may take zeros for flat grey blocks and complain of nothing.
    """
    scan, end = b"\xff\xda", b"\xff\xd9"
    return content.endswith(bytes(_ZEROS)) and content.rfind(end) < content.rfind(scan)


def is_8_bit(image: Image.Image) -> bool:
    """Return whether an opened image, not yet decoded, has whole numbers of up to 8 bits in every channel."""
    return image.mode in _MODES and bits_per_channel(image) == 8


@contextmanager
def _opened(path: Path, size: tuple[int, int] | None) -> Iterator[Image.Image]:
    """Open an image that is what it should be; what goes wrong with it meanwhile is an error about the file."""
    try:
        with Image.open(path) as image:
            _check(image, path, size)
            yield image
    except FileNotFoundError:
        raise BenchError(
            f"{path} is not there: unpack the data set's image archive again (bench data verify)"
        ) from None
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's own; PIL's have none
            raise refused(error, path) from error
        raise BenchError(
            f"{path} is broken or cut short ({error}): unpack or download it again (bench data verify)"
        ) from error


def _check(image: Image.Image, path: Path, size: tuple[int, int] | None) -> None:
    if image.format == "JPEG":
        with path.open("rb") as file:
            file.seek(-min(_ZEROS, path.stat().st_size), 2)
            if not any(file.read()) and ends_in_zeros(path.read_bytes()):
                raise OSError("zeros are in place of its last part")
    if size is not None and (image.height, image.width) != tuple(size):
        turned = ", as if it were turned (EXIF says so of some photos; pixels are taken as they are stored)"
        swapped = (image.width, image.height) == tuple(size)
        raise BenchError(
            f"{path} is {image.height} x {image.width} (height x width) but its annotations are for "
            f"{size[0]} x {size[1]}{turned if swapped else ''}: mend the annotations, or restore the photo"
        )
    if not is_8_bit(image):
        raise BenchError(
            f"{path} has pixels of mode {image.mode} in {bits_per_channel(image)} bits, not 8 bits a channel: convert "
            "it to JPEG, or to PNG of 8 bits"
        )
