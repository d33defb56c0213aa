from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from bench.data.images import image_size, read_rgb
from models.errors import BenchError


def photo(height: int = 24, width: int = 40) -> Image.Image:
    """A picture whose every row and column differ."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 6 % 256, y * 10 % 256, (x + y) * 3 % 256], axis=-1).astype(np.uint8))


@pytest.mark.parametrize(
    "mode,suffix",
    [
        ("RGB", "jpg"),
        ("L", "jpg"),
        ("CMYK", "jpg"),
        ("RGBA", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("1", "png"),
    ],
)
def test_every_mode_reads_as_pil_converts_it(mode: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image.{suffix}"
    photo().convert(mode).save(path)
    image = read_rgb(path)
    assert image.dtype == np.uint8
    assert image.shape == (24, 40, 3)
    assert image.flags.writeable
    np.testing.assert_array_equal(image, np.asarray(Image.open(path).convert("RGB")))


def test_real_photos_read_as_pil_converts_them(shared: Path) -> None:
    paths = sorted((shared / "samples" / "coco" / "val2017").iterdir())
    assert len(paths) == 50
    for path in paths:
        np.testing.assert_array_equal(read_rgb(path), np.asarray(Image.open(path).convert("RGB")))


def test_orientation_in_exif_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().save(tmp_path / "turned.jpg", exif=exif)
    assert read_rgb(tmp_path / "turned.jpg").shape == (24, 40, 3)
    assert image_size(tmp_path / "turned.jpg") == (24, 40)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_an_error_even_where_a_library_allowed_it(
    suffix: str, part: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    whole = tmp_path / f"whole.{suffix}"
    photo(200, 300).save(whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(BenchError, match=r"cut\.\w+ is broken or cut short"):
        read_rgb(cut)


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}], ids=str)
@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
def test_zeros_in_place_of_a_photos_last_part_are_an_error(
    part: float, options: dict[str, bool], tmp_path: Path
) -> None:
    photo(200, 300).save(tmp_path / "x.jpg", **options)
    data = (tmp_path / "x.jpg").read_bytes()
    kept = int(len(data) * part)
    (tmp_path / "x.jpg").write_bytes(data[:kept] + bytes(len(data) - kept))
    with pytest.raises(BenchError, match=r"x\.jpg is broken or cut short"):
        read_rgb(tmp_path / "x.jpg")


def test_zeros_behind_a_whole_photo_are_nothing_to_it(tmp_path: Path) -> None:
    photo().save(tmp_path / "x.jpg", optimize=True)
    expected = read_rgb(tmp_path / "x.jpg")
    with (tmp_path / "x.jpg").open("ab") as file:
        file.write(bytes(5000))
    np.testing.assert_array_equal(read_rgb(tmp_path / "x.jpg"), expected)


def test_what_is_not_an_image_is_an_error(tmp_path: Path) -> None:
    for content in (b"", b"<html>not found</html>", b"\xff\xd8\xff" + b"\x00" * 100):
        (tmp_path / "x.jpg").write_bytes(content)
        with pytest.raises(BenchError, match="broken or cut short"):
            read_rgb(tmp_path / "x.jpg")
        with pytest.raises(BenchError, match="broken or cut short"):
            image_size(tmp_path / "x.jpg")


def test_a_damaged_png_is_an_error(tmp_path: Path) -> None:
    photo(100, 100).save(tmp_path / "x.png")
    data = bytearray((tmp_path / "x.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(BenchError, match="broken or cut short"):
        read_rgb(tmp_path / "x.png")


def test_an_absent_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    for read in (read_rgb, image_size):
        with pytest.raises(BenchError, match=r"000000000139\.jpg is not there"):
            read(tmp_path / "000000000139.jpg")


def test_another_size_than_annotated_is_an_error(tmp_path: Path) -> None:
    photo(24, 40).save(tmp_path / "x.png")
    assert read_rgb(tmp_path / "x.png", size=(24, 40)).shape == (24, 40, 3)
    with pytest.raises(BenchError, match=r"is 24 x 40 \(height x width\) but its annotations are for 40 x 24"):
        read_rgb(tmp_path / "x.png", size=(40, 24))


def test_sixteen_bits_a_channel_are_refused_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(BenchError, match="not 8 bits a channel"):
        read_rgb(tmp_path / "deep.png")
