"""A teacher's features come back as they were made, for the crops they were made of, or not at all."""

from __future__ import annotations

import pickle
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.data.training import feature_cache
from bench.data.training.crops import CropBatches, crop_of, crop_to
from bench.data.training.feature_cache import FeatureCache, disk_need, layout, write_features
from models.errors import BenchError

IMAGES, VIEWS, SIZE, TOKENS, WIDTH = 5, 3, 32, 4, 6
SCALE = (0.3, 1.0)


class Photos:
    """Noise of different sizes; counts what is decoded."""

    def __init__(self, count: int = IMAGES) -> None:
        self.count, self.decoded = count, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        self.decoded += 1
        shape = (40 + index, 50 - index, 3)
        return np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8)


def teacher(pixels: np.ndarray) -> np.ndarray:
    """Return a few pixels of each crop as float32 features."""
    return pixels.reshape(len(pixels), -1)[:, : TOKENS * WIDTH].reshape(-1, TOKENS, WIDTH) / np.float32(7)


def write(folder: Path, images: Any = None, teacher: Callable = teacher, **changes: Any) -> None:
    settings = {"views": VIEWS, "seed": 1, "scale": SCALE, "size": SIZE, "batch": 2, "teacher_sha256": "ab"}
    write_features(images or Photos(), teacher, folder, **{**settings, "shard_samples": 4, **changes})


def expected(index: int, view: int) -> np.ndarray:
    image = Photos()[index]
    crop = crop_of(1, index, view, *image.shape[:2], SCALE)
    return teacher(crop_to(image, crop, SIZE)[None])[0].astype(np.float16)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    write(folder)
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


class TestReading:
    def test_every_view_has_the_features_of_its_own_crop(self, folder: Path) -> None:
        cache = FeatureCache(folder)
        for index in range(IMAGES):
            for view in range(VIEWS):
                features = cache[index, view]
                assert (features.dtype, features.shape) == (np.float16, (TOKENS, WIDTH))
                assert (features == expected(index, view)).all()
        assert (cache.about.images, cache.about.views) == (IMAGES, VIEWS)

    def test_a_student_gets_the_features_of_the_very_crop_it_sees(self, folder: Path) -> None:
        settings: Any = {"size": SIZE, "images_per_batch": 2, "seed": 1, "scale": SCALE, "views": VIEWS}
        batches = CropBatches(Photos(), **settings, features=FeatureCache(folder))
        for step in range(2 * VIEWS + 2):
            batch = batches[step]
            assert (batch["features"] == teacher(batch["images"]).astype(np.float16)).all()

    def test_webdataset_reads_the_shards_as_they_are(self, folder: Path) -> None:
        webdataset = pytest.importorskip("webdataset")
        shards = [str(path) for path in sorted(folder.glob("*.tar"))]
        found = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
        assert len(found) == IMAGES * VIEWS
        for sample in found:
            crop = sample["crop.json"]
            index, view = crop["index"], crop["view"]
            assert sample["__key__"] == f"{index:08d}-{view:04d}"
            assert (sample["features.npy"] == expected(index, view)).all()
            drawn = crop_of(1, index, view, *Photos()[index].shape[:2], SCALE)
            assert {**drawn._asdict(), "index": index, "view": view, "seed": 1} == crop

    def test_a_cache_can_be_sent_to_another_process(self, folder: Path) -> None:
        assert (pickle.loads(pickle.dumps(FeatureCache(folder)))[2, 1] == expected(2, 1)).all()

    @pytest.mark.parametrize("key", [(IMAGES, 0), (0, VIEWS), (-1, 0)])
    def test_what_was_not_written_is_refused(self, folder: Path, key: tuple[int, int]) -> None:
        with pytest.raises(BenchError, match=f"has 3 views of 5 images, not view {key[1]} of image {key[0]}"):
            FeatureCache(folder)[key]

    def test_a_shard_that_holds_something_else_is_noticed(self, copy: Path) -> None:
        shutil.copy(copy / "features-000001.tar", copy / "features-000000.tar")
        with pytest.raises(BenchError, match=r"features-000000.tar is not what was written there: remove it"):
            FeatureCache(copy)[0, 0]

    def test_a_shard_cut_short_under_a_reader_is_noticed(self, copy: Path) -> None:
        cache = FeatureCache(copy)
        (copy / "features-000000.tar").write_bytes(b"")
        with pytest.raises(BenchError, match=r"features-000000.tar is not what was written there"):
            cache[0, 0]

    @pytest.mark.parametrize("hole", [slice(512, 600), slice(600, 640), slice(0, 512), slice(512, None)])
    def test_zeros_in_place_of_features_are_noticed(self, copy: Path, hole: slice) -> None:
        shard = copy / "features-000000.tar"
        content = bytearray(shard.read_bytes())
        content[hole] = bytes(len(content[hole]))
        shard.write_bytes(content)
        with pytest.raises(BenchError, match=r"features-000000.tar is not what was written there"):
            FeatureCache(copy)[0, 0]

    @pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"half")])
    def test_an_unfinished_folder_is_refused(self, copy: Path, damage: Callable) -> None:
        damage(copy / "features-000002.tar")
        with pytest.raises(BenchError, match=r"has 3 of 4 shards of features, features-000002.tar is not whole"):
            FeatureCache(copy)

    def test_a_folder_without_features_is_refused(self, copy: Path, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match="holds no features: write them first"):
            FeatureCache(tmp_path / "nowhere")
        (copy / layout.ABOUT).write_text("{")
        with pytest.raises(BenchError, match=r"features.json cannot be read"):
            FeatureCache(copy)


class TestCheck:
    def test_features_of_the_same_crops_and_teacher_pass(self, folder: Path) -> None:
        wanted = {"seed": 1, "scale": SCALE, "size": SIZE, "teacher_sha256": "ab"}
        FeatureCache(folder).check(**wanted, views=VIEWS, images=IMAGES)

    @pytest.mark.parametrize(
        "change, said",
        [
            ({"seed": 2}, r"seed 1 \(not 2\)"),
            ({"scale": (0.2, 1.0)}, r"scale \(0.3, 1.0\) \(not \(0.2, 1.0\)\)"),
            ({"size": 64}, r"size 32 \(not 64\)"),
            ({"teacher_sha256": "cd"}, r"teacher_sha256 ab \(not cd\)"),
            ({"views": 4, "images": 6}, r"views 3 \(not 4\), images 5 \(not 6\)"),
        ],
    )
    def test_others_are_refused_by_name(self, folder: Path, change: dict[str, Any], said: str) -> None:
        wanted = {"seed": 1, "scale": SCALE, "size": SIZE, "teacher_sha256": "ab", **change}
        with pytest.raises(BenchError, match=f"holds features made with {said}: name another folder"):
            FeatureCache(folder).check(**wanted)


class TestWriting:
    def test_a_writer_that_died_goes_on_with_the_shard_it_was_at(self, folder: Path, tmp_path: Path) -> None:
        calls = []

        def mortal(pixels: np.ndarray) -> np.ndarray:
            calls.append(len(pixels))
            if len(calls) == 5:  # a question about the shape, then two a shard
                raise KeyboardInterrupt
            return teacher(pixels)

        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, teacher=mortal)
        assert [path.name for path in tmp_path.glob("*.tar*")] == ["features-000000.tar"]
        written = (tmp_path / "features-000000.tar").stat().st_mtime_ns
        images = Photos()
        write(tmp_path, images)
        assert (tmp_path / "features-000000.tar").stat().st_mtime_ns == written
        assert bytes_of(tmp_path) == bytes_of(folder)
        assert images.decoded < IMAGES * VIEWS  # nothing was read for the first shard

    def test_a_finished_cache_asks_the_teacher_for_nothing_but_its_shape(self, copy: Path) -> None:
        asked = []
        write(copy, teacher=lambda pixels: (asked.append(pixels.shape), teacher(pixels))[1])
        assert asked == [(1, 3, SIZE, SIZE)]

    def test_two_processes_share_the_shards(self, folder: Path, tmp_path: Path) -> None:
        write(tmp_path, rank=1, world=2)
        assert [path.name for path in sorted(tmp_path.glob("*.tar"))] == ["features-000001.tar", "features-000003.tar"]
        write(tmp_path, rank=0, world=2)
        assert bytes_of(tmp_path) == bytes_of(folder)

    def test_a_photo_is_decoded_once_for_the_views_of_a_batch(self, tmp_path: Path) -> None:
        images = Photos()
        write(tmp_path, images, batch=15, shard_samples=15)
        assert images.decoded == IMAGES

    def test_tensors_are_taken_without_their_gradients(self, folder: Path, tmp_path: Path) -> None:
        torch = pytest.importorskip("torch")
        write(tmp_path, teacher=lambda pixels: torch.tensor(teacher(pixels), requires_grad=True))
        assert bytes_of(tmp_path) == bytes_of(folder)

    def test_features_of_other_crops_are_not_mixed(self, copy: Path) -> None:
        with pytest.raises(BenchError, match=r"made with seed 1 \(not 2\)"):
            write(copy, seed=2)

    def test_features_of_as_many_other_photos_are_not_mixed(self, copy: Path, tmp_path: Path) -> None:
        write(tmp_path / "new", photos="a")
        with pytest.raises(BenchError, match=r"made with photos a \(not b\)"):
            write(tmp_path / "new", photos="b")
        write(copy, photos="b")  # of an earlier version, which did not say

    @pytest.mark.parametrize("value", [np.nan, np.inf, 70000.0])
    def test_numbers_that_half_precision_cannot_hold_are_refused(self, tmp_path: Path, value: float) -> None:
        with pytest.raises(BenchError, match="which float16 cannot hold"):
            write(tmp_path, teacher=lambda pixels: np.full((len(pixels), TOKENS, WIDTH), value, np.float32))

    def test_a_teacher_of_maps_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match=r"has to make \[B, N, C\]"):
            write(tmp_path, teacher=lambda pixels: np.zeros((len(pixels), 6, 2, 2), np.float32))

    def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        usage = type("Usage", (), {"free": 1000})
        monkeypatch.setattr(feature_cache.write.shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(BenchError, match=r"has 1e-06 GB free but the features need 3\.07e-05 GB"):
            write(tmp_path)
        assert "features of 15 crops, float16 [4, 6] each: 3.07e-05 GB" in capsys.readouterr().err
        assert list(tmp_path.glob("*.tar")) == []


@pytest.mark.parametrize("tokens, width", [(TOKENS, WIDTH), (196, 256), (49, 1280)])
def test_the_disk_need_is_what_is_written(tmp_path: Path, tokens: int, width: int) -> None:
    write(tmp_path, Photos(2), lambda pixels: np.ones((len(pixels), tokens, width)), views=2)
    shards = sorted(tmp_path.glob("*.tar"))
    size = sum(path.stat().st_size for path in shards)
    need = disk_need(2, 2, tokens, width)
    assert need <= size <= need + 10240 * len(shards)
    with tarfile.open(shards[0]) as tar:
        assert len(tar.getnames()) == 2 * 4
