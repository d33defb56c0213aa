"""How many bits a channel of an opened image has, from its header: Pillow makes 8 of 16 without a word.

Grey images of 16 bits keep them in a mode of their own; those in colour are read as RGB, their low bytes lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from PIL import Image

BITS_PER_SAMPLE = 258
"""TIFF's tag."""
_HEADER = 1 << 20
"""Bytes in which headers are looked for; colour profiles of some hundred kB may stand before them."""
_WIDE = re.compile(r";(10|12|16|32)[A-Z]")
"""Of a raw mode such as "RGB;16B"; "BGR;16" packs three channels into 16 bits and has no letter at the end."""


def bits_per_channel(image: Image.Image) -> int:
    """Return the bits of the widest channel, at least 8; call it before the pixels are decoded."""
    return max(8, _of_tiles(image), _HEADERS.get(image.format or "", lambda image: 8)(image))


def _of_tiles(image: Image.Image) -> int:
    """Return what the raw modes say that Pillow is about to decode."""
    given: list[Any] = []
    for codec, _, _, args in getattr(image, "tile", ()):
        given += [codec, *(args if isinstance(args, tuple) else (args,))]
    words = [word for word in given if isinstance(word, str)]
    wide = [int(found[1]) for found in map(_WIDE.search, words) if found]
    return max(wide, default=16 if {"SGI16", "BC6H"} & set(map(str.upper, words)) else 8)


def _of_tiff(image: Any) -> int:
    return max((int(bits) for bits in image.tag_v2.get(BITS_PER_SAMPLE, (8,))), default=8)


def _of_ppm(image: Any) -> int:
    """Return the bits of the greatest value, which the arguments of the decoder end with."""
    largest = [args[-1] for _, _, _, args in image.tile if isinstance(args, tuple) and isinstance(args[-1], int)]
    return max(largest, default=255).bit_length()


def _of_jpeg2000(image: Any) -> int:
    """Return the bits that the codestream's SIZ segment names (ISO/IEC 15444-1, A.5.1)."""
    _, _, size = _start(image).partition(b"\xff\x4f\xff\x51")
    components = int.from_bytes(size[36:38], "big")
    return max(((bits & 0x7F) + 1 for bits in size[38 : 38 + 3 * components : 3]), default=8)


def _of_avif(image: Any) -> int:
    """Return 8, or 10 where the AV1 configuration (av1C) says high_bitdepth, 12 where it says twelve_bit."""
    boxes = _start(image).split(b"av1C")[1:]
    return max((10 + 2 * (box[2] >> 5 & 1) for box in boxes if len(box) > 2 and box[2] >> 6 & 1), default=8)


def _start(image: Any) -> bytes:
    """Return the beginning of the file, and leave the place where it is read next."""
    place = image.fp.tell()
    image.fp.seek(0)
    start: bytes = image.fp.read(_HEADER)
    image.fp.seek(place)
    return start


_HEADERS: dict[str, Callable[[Any], int]] = {
    "TIFF": _of_tiff,
    "PPM": _of_ppm,
    "JPEG2000": _of_jpeg2000,
    "AVIF": _of_avif,
}
"""Formats whose raw modes do not tell."""
