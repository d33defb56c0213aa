"""ADE20K on disk: what is read, and what is refused by which sentence."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from PIL import Image

from bench.data import ade20k
from bench.data.ade20k import IGNORED, open_ade20k
from models.errors import BenchError, MissingData
from tests.bench.data.ade20k_files import random_pair, write_ade20k


def test_examples() -> None:
    assert doctest.testmod(ade20k).failed == 0


def test_photos_come_with_classes_from_zero_and_label_0_ignored(tmp_path) -> None:
    pairs = [random_pair(seed) for seed in range(3)]
    photos = open_ade20k(write_ade20k(tmp_path, pairs))
    assert (len(photos), photos.names) == (3, ("tree", "sky", "house"))
    for (photo, labels), (read, classes) in zip(pairs, photos, strict=False):
        np.testing.assert_array_equal(read, photo)
        assert (classes[labels == 0] == IGNORED).all()
        np.testing.assert_array_equal(classes[labels > 0], labels[labels > 0] - 1)


def test_without_a_list_of_classes_there_are_the_published_150(tmp_path) -> None:
    photo, labels = random_pair(0)
    labels[0, 0] = 150
    photos = open_ade20k(write_ade20k(tmp_path, [(photo, labels)], names=None))
    assert len(photos.names) == 150
    assert photos[0][1][0, 0] == 149


def test_a_label_of_no_class_is_an_error(tmp_path) -> None:
    photo, labels = random_pair(0)
    labels[3, 3] = 4
    photos = open_ade20k(write_ade20k(tmp_path, [random_pair(1), (photo, labels)]))
    photos[0]
    with pytest.raises(BenchError, match=r"ADE_val_00000002.png has label 4, but there are 3 classes"):
        photos[1]


def test_a_label_map_of_another_size_than_its_photo_is_an_error(tmp_path) -> None:
    photos = open_ade20k(write_ade20k(tmp_path, [(random_pair(0)[0], random_pair(1, (12, 15))[1])]))
    with pytest.raises(BenchError, match=r"is 12 x 15 \(height x width\) but its photo is 12 x 16"):
        photos[0]


@pytest.mark.parametrize("shape,mode", [((12, 16, 3), "RGB"), ((12, 16), "I;16")])
def test_a_label_map_of_several_channels_or_16_bits_is_an_error(tmp_path, shape, mode) -> None:
    root = write_ade20k(tmp_path, [random_pair(0)])
    photos = open_ade20k(root)
    Image.fromarray(np.zeros(shape, np.uint8 if mode == "RGB" else np.uint16)).save(photos.label_paths[0])
    with pytest.raises(BenchError, match=f"mode {mode}, but a label map is one byte a pixel"):
        photos[0]


def test_a_broken_or_missing_label_map_is_an_error(tmp_path) -> None:
    photos = open_ade20k(write_ade20k(tmp_path, [random_pair(0), random_pair(1)]))
    content = photos.label_paths[0].read_bytes()
    photos.label_paths[0].write_bytes(content[: len(content) // 2])
    with pytest.raises(BenchError, match="is broken or cut short"):
        photos[0]
    photos.label_paths[1].unlink()
    with pytest.raises(BenchError, match="is not there"):
        photos[1]
    with pytest.raises(BenchError, match=r"1 of 2 photos of .* have no label map, the first of these is .*00000002"):
        open_ade20k(tmp_path)


def test_missing_folders_say_how_to_get_the_data(tmp_path) -> None:
    with pytest.raises(MissingData, match=r"ADEChallengeData2016.zip.*--scale micro"):
        open_ade20k(tmp_path)
    root = write_ade20k(tmp_path, [])
    with pytest.raises(MissingData, match="has no photo"):
        open_ade20k(root)


def test_a_list_of_classes_out_of_order_is_an_error(tmp_path) -> None:
    root = write_ade20k(tmp_path, [random_pair(0)])
    (root / "ade20k" / "objectInfo3.txt").write_text("Idx\tName\n1\ta\n3\tb\n")
    with pytest.raises(BenchError, match="does not number its classes"):
        open_ade20k(root)


def test_the_hash_changes_with_files_and_classes(tmp_path) -> None:
    first = open_ade20k(write_ade20k(tmp_path / "a", [random_pair(0)])).sha256
    assert open_ade20k(write_ade20k(tmp_path / "b", [random_pair(0)])).sha256 == first
    assert open_ade20k(write_ade20k(tmp_path / "c", [random_pair(0), random_pair(1)])).sha256 != first
    assert open_ade20k(write_ade20k(tmp_path / "d", [random_pair(0)], names=("a", "b", "c"))).sha256 != first


def test_the_sample_photos_are_read(shared) -> None:
    photos = open_ade20k(shared / "samples")
    assert (len(photos), len(photos.names)) == (12, 150)
    for photo, classes in photos:
        assert photo.shape[:2] == classes.shape
        assert ((classes < 150) | (classes == IGNORED)).all()
