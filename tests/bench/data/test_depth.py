"""Photos of more than 8 bits a channel are refused in every format, by whoever reads or verifies them."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from bench.data.depth import bits_per_channel
from bench.data.images import image_size, read_rgb
from bench.data.sa1b import BrokenSample, decode_sample
from bench.data.verify import verify
from models.errors import BenchError
from tests.bench.data.training.test_detection import lay_out

SIDE = 64
DEEP = np.random.default_rng(0).integers(0, 1 << 16, (SIDE, SIDE, 4), dtype=np.uint16)
"""RGBA."""
EIGHT = (DEEP >> 8).astype(np.uint8)


def by_opencv(path: Path, pixels: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    settings = []
    if path.suffix == ".avif" and pixels.dtype == np.uint16:
        pixels, settings = pixels >> 6, [cv2.IMWRITE_AVIF_DEPTH, 10]
    assert cv2.imwrite(str(path), pixels, settings)


def as_ppm(path: Path, pixels: np.ndarray, largest: int) -> None:
    kind = pixels.astype(">u2" if largest > 255 else "u1")
    path.write_bytes(b"P6 %d %d %d\n" % (SIDE, SIDE, largest) + kind.tobytes())


def as_plain_ppm(path: Path, pixels: np.ndarray, largest: int) -> None:
    numbers = " ".join(map(str, pixels.ravel().tolist()))
    path.write_text(f"P3 {SIDE} {SIDE} {largest}\n{numbers}\n")


def as_tiff(path: Path, pixels: np.ndarray, *, planar: bool = False) -> None:
    """Write an uncompressed TIFF of 16 bits a channel, by pixels or channel by channel."""
    count = pixels.shape[2]
    data = (pixels.transpose(2, 0, 1) if planar else pixels).astype("<u2").tobytes()
    strips = [len(data) // count] * count if planar else [len(data)]
    extra = b"".join(struct.pack("<H", 16) for _ in range(count))
    after = 8 + len(extra) + 8 * len(strips)
    places = [after + sum(strips[:i]) for i in range(len(strips))]
    lists = struct.pack(f"<{len(strips)}I", *places) + struct.pack(f"<{len(strips)}I", *strips)
    at = 8 + len(extra)
    single = len(strips) == 1
    tags = [
        (256, 3, 1, SIDE),
        (257, 3, 1, SIDE),
        (258, 3, count, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, len(strips), places[0] if single else at),
        (277, 3, 1, count),
        (278, 3, 1, SIDE),
        (279, 4, len(strips), strips[0] if single else at + 4 * len(strips)),
        (284, 3, 1, 2 if planar else 1),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", after + len(data)) + extra + lists + data + directory)


def as_sgi(path: Path, pixels: np.ndarray, depth: int) -> None:
    header = struct.pack(">hBBHHHH", 474, 0, depth, 3, SIDE, SIDE, pixels.shape[2]).ljust(512, b"\0")
    planes = pixels[::-1].transpose(2, 0, 1).astype(">u2" if depth == 2 else "u1")
    path.write_bytes(header + planes.tobytes())


DEEP_FILES = {
    "48-bit.png": lambda path: by_opencv(path, DEEP[..., :3]),
    "64-bit.png": lambda path: by_opencv(path, DEEP),
    "compressed.tiff": lambda path: by_opencv(path, DEEP[..., :3]),
    "alpha.tiff": lambda path: by_opencv(path, DEEP),
    "plain.tiff": lambda path: as_tiff(path, DEEP[..., :3]),
    "planar.tiff": lambda path: as_tiff(path, DEEP[..., :3], planar=True),
    "rgb.jp2": lambda path: by_opencv(path, DEEP[..., :3]),
    "ten.avif": lambda path: by_opencv(path, DEEP[..., :3]),
    "raw.ppm": lambda path: as_ppm(path, DEEP[..., :3], 65535),
    "ten.ppm": lambda path: as_ppm(path, DEEP[..., :3] >> 6, 1023),
    "text.ppm": lambda path: as_plain_ppm(path, DEEP[..., :3], 65535),
    "rgb.sgi": lambda path: as_sgi(path, DEEP[..., :3], 2),
    "grey.png": lambda path: by_opencv(path, DEEP[..., 0]),
    "grey.tiff": lambda path: by_opencv(path, DEEP[..., 0]),
}
EIGHT_BIT_FILES = {
    "rgb.png": lambda path: by_opencv(path, EIGHT[..., :3]),
    "rgba.png": lambda path: by_opencv(path, EIGHT),
    "rgb.tiff": lambda path: by_opencv(path, EIGHT[..., :3]),
    "rgb.jp2": lambda path: by_opencv(path, EIGHT[..., :3]),
    "rgb.avif": lambda path: by_opencv(path, EIGHT[..., :3]),
    "rgb.webp": lambda path: by_opencv(path, EIGHT[..., :3]),
    "rgb.bmp": lambda path: by_opencv(path, EIGHT[..., :3]),
    "raw.ppm": lambda path: as_ppm(path, EIGHT[..., :3], 255),
    "few.ppm": lambda path: as_ppm(path, EIGHT[..., :3] >> 4, 15),
    "text.ppm": lambda path: as_plain_ppm(path, EIGHT[..., :3], 255),
    "rgb.sgi": lambda path: as_sgi(path, EIGHT[..., :3], 1),
    "rgb.jpg": lambda path: by_opencv(path, EIGHT[..., :3]),
}


@pytest.mark.parametrize("name", DEEP_FILES)
def test_more_than_8_bits_are_refused_by_reader_and_size_alike_with_what_to_do(name: str, tmp_path: Path) -> None:
    DEEP_FILES[name](tmp_path / name)
    said = rf"{name} has pixels of mode \S+ in 1[06] bits, not 8 bits a channel: convert it to JPEG, or to PNG of 8"
    for read in (read_rgb, image_size):
        with pytest.raises(BenchError, match=said):
            read(tmp_path / name)


@pytest.mark.parametrize("name", EIGHT_BIT_FILES)
def test_8_bits_are_read_as_ever(name: str, tmp_path: Path) -> None:
    EIGHT_BIT_FILES[name](tmp_path / name)
    assert image_size(tmp_path / name) == (SIDE, SIDE)
    np.testing.assert_array_equal(read_rgb(tmp_path / name), np.array(Image.open(tmp_path / name).convert("RGB")))


def test_pixels_of_16_bits_for_three_channels_are_not_16_a_channel(tmp_path: Path) -> None:
    header = struct.pack("<2sIHHI", b"BM", 54 + 8 * 8 * 2, 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 16, 0, 8 * 8 * 2, 0, 0, 0, 0)
    (tmp_path / "packed.bmp").write_bytes(header + bytes(8 * 8 * 2))
    assert read_rgb(tmp_path / "packed.bmp").shape == (8, 8, 3)


@pytest.mark.parametrize("name", ["48-bit.png", "rgb.jp2", "ten.avif", "raw.ppm"])
def test_nothing_is_decoded_to_find_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    DEEP_FILES[name](tmp_path / name)
    with Image.open(tmp_path / name) as image:
        monkeypatch.setattr(type(image), "load", refuse)
        assert bits_per_channel(image) in (10, 16)


def test_verify_names_the_photo(tmp_path: Path) -> None:
    root = lay_out(tmp_path, split="val2017")
    by_opencv(root / "coco" / "val2017" / "2.png", DEEP[:20, :30, :3])
    report = verify("coco", root)
    assert not report.ok
    assert "2.png has pixels of mode RGB in 16 bits" in " ".join(report.lines)


def test_a_photo_of_sa_1b_with_16_bits_is_a_broken_sample(tmp_path: Path) -> None:
    by_opencv(tmp_path / "deep.png", DEEP[..., :3])
    content = (tmp_path / "deep.png").read_bytes()
    with pytest.raises(BrokenSample, match="photo of more than 8 bits a channel"):
        decode_sample(content, b'{"annotations": []}', masks=1, size=8, rng=np.random.default_rng(0))
