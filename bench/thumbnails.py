"""Small pictures of photos as files, for pages: made once, and found again by later calls."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from bench.data import read_rgb
from bench.store.disk import write_whole

LONGEST = 512
"""px of the longer side; smaller photos keep their size."""
QUALITY = 80
"""Of the WebP: about 30 kB a photo of COCO."""


def thumbnail(photo: Path, size: tuple[int, int], file: Path) -> None:
    """Write a photo as a small WebP, unless the file is there already.

    Args:
        photo: the file of the photo.
        size: (height, width) px that it must have.
        file: what is written, whole or not at all.

    Raises:
        BenchError: if the photo cannot be read, or the file not be written.
    """
    if file.is_file():
        return
    image, content = Image.fromarray(read_rgb(photo, size=size)), io.BytesIO()
    image.thumbnail((LONGEST, LONGEST))
    image.save(content, "WEBP", quality=QUALITY, method=2)
    write_whole(file, content.getvalue(), variable="--out")
