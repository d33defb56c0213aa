"""Photos with masks of salient objects, in the layouts that are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.salient import LAYOUTS, open_salient
from models.errors import BenchError, MissingData


def write(root: Path, layout: str, count: int = 2) -> tuple[Path, Path]:
    """Write photos of 6 x 8 px whose object is the left half; return their folders."""
    images, masks = (root / folder for folder in LAYOUTS[layout])
    for folder in (images, masks):
        folder.mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((6, 8), np.uint8)
        mask[:, :4] = 255
        Image.fromarray(np.full((6, 8, 3), 10 * number, np.uint8)).save(images / f"{number}.jpg")
        Image.fromarray(mask).save(masks / f"{number}.png")
    return images, masks


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_layout_is_read(tmp_path: Path, layout: str) -> None:
    write(tmp_path, layout)
    photos = open_salient(tmp_path)
    assert (photos.name, len(photos)) == (layout, 2)
    photo, mask = photos[1]
    assert (photo.shape, int(photo.max())) == ((6, 8, 3), 10)
    np.testing.assert_array_equal(mask, np.arange(8)[None].repeat(6, 0) < 4)


def test_grey_that_jpeg_left_in_a_mask_is_decided_at_the_middle(tmp_path: Path) -> None:
    _, masks = write(tmp_path, "salient", 1)
    Image.fromarray(np.array([[0, 3, 128, 129, 250, 255, 90, 200]] * 6, np.uint8)).convert("RGB").save(masks / "0.png")
    assert open_salient(tmp_path)[0][1][0].tolist() == [False, False, False, True, True, True, False, True]


def test_without_data_one_is_told_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"salient/images and salient/masks .*ECSSD.*DUTS-TE.*--scale micro"):
        open_salient(tmp_path)


def test_photos_without_a_mask_are_refused_at_once(tmp_path: Path) -> None:
    _, masks = write(tmp_path, "ECSSD")
    (masks / "1.png").unlink()
    with pytest.raises(BenchError, match=r"1 of 2 photos of .*ECSSD/images have no mask.*1\.png"):
        open_salient(tmp_path)


def test_a_mask_of_another_size_or_a_broken_one_costs_its_photo_alone(tmp_path: Path) -> None:
    _, masks = write(tmp_path, "DUTS-TE", 3)
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(masks / "0.png")
    (masks / "1.png").write_bytes((masks / "1.png").read_bytes()[:50])
    photos = open_salient(tmp_path)
    with pytest.raises(BenchError, match=r"0\.png is 8 x 6 .*but its photo is 6 x 8"):
        photos[0]
    with pytest.raises(BenchError, match=r"1\.png is broken or cut short"):
        photos[1]
    assert photos[2][1].any()


def test_another_file_is_another_data_set(tmp_path: Path) -> None:
    images, _ = write(tmp_path, "salient")
    before = open_salient(tmp_path).sha256
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(images / "0.jpg")
    assert open_salient(tmp_path).sha256 != before
