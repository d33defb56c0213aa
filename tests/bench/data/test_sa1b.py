"""SA-1B in batches: resumable anywhere, squashed as EfficientSAM does, broken samples replaced and counted."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import webdataset
from PIL import Image
from pycocotools import mask as rle

from bench.data import sa1b, tars
from bench.data.dead_leaves import draw_scene
from bench.data.dead_leaves.training import TRAINING_SEED
from bench.data.sa1b import BrokenSample, Sa1bBatches, decode_sample
from bench.data.verify import verify
from models.errors import BenchError, MissingData
from tests.bench.data.dead_leaves.sa1b_tars import write_sa1b_tars

SCENES, PER_TAR, SIDE = 7, 3, 32
Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three tars of dead leaves; read only."""
    return write_sa1b_tars(SCENES, tmp_path_factory.mktemp("sa1b"), PER_TAR)


def sample(number: int, *, height: int = 24, width: int = 30, masks: int = 3) -> Files:
    """Return the files of a photo of one colour, whose mask k is its row k."""
    photo = io.BytesIO()
    Image.new("RGB", (width, height), (8 * number, 0, 0)).save(photo, "PNG")
    grids = [np.arange(height) == row for row in range(masks)]
    runs = [rle.encode(np.asfortranarray(np.tile(g[:, None], width).astype(np.uint8))) for g in grids]
    annotations = [{"id": k, "segmentation": {**r, "counts": r["counts"].decode()}} for k, r in enumerate(runs)]
    content = {"image": {"image_id": number, "height": height, "width": width}, "annotations": annotations}
    return {f"sa_{number}.jpg": photo.getvalue(), f"sa_{number}.json": json.dumps(content).encode()}


def pack(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def unpack(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def some(count: int, **shape: int) -> Files:
    return {name: content for number in range(1, count + 1) for name, content in sample(number, **shape).items()}


def batches(paths: list[Path], *, images: int = 2, masks: int = 4, seed: int = 0, **rest: int) -> Sa1bBatches:
    return Sa1bBatches(paths, images_per_batch=images, masks=masks, size=SIDE, seed=seed, **rest)


def shown(data: Sa1bBatches, micros: range) -> list[int]:
    """Return the numbers of the photos of one colour in batches."""
    return [int(value) // 8 for micro in micros for value in data[micro]["images"][:, 0, 0, 0]]


def with_annotations(change: Callable[[dict[str, Any]], None]) -> Files:
    """Return the files of sample 2 with its JSON changed."""
    files = sample(2)
    content = json.loads(files["sa_2.json"])
    change(content)
    return {**files, "sa_2.json": json.dumps(content).encode()}


def clear(content: dict[str, Any]) -> None:
    empty = rle.encode(np.zeros((24, 30), np.uint8, order="F"))
    for entry in content["annotations"]:
        entry["segmentation"]["counts"] = empty["counts"].decode()


BROKEN: dict[str, Files] = {
    "photo that is broken or cut short": {**sample(2), "sa_2.jpg": sample(2)["sa_2.jpg"][:60]},
    "annotations that are malformed or cut short": {**sample(2), "sa_2.json": sample(2)["sa_2.json"][:-40]},
    "no masks": with_annotations(lambda content: content["annotations"].clear()),
    "all masks are empty": with_annotations(clear),
    "mask of another size than its photo": {**sample(2), "sa_2.json": sample(2, height=20)["sa_2.json"]},
    "mask that is malformed": with_annotations(lambda content: content["annotations"][0]["segmentation"].pop("counts")),
}


class TestBatches:
    def test_arrays_are_as_the_promptable_stage_wants_them(self, written: list[Path]) -> None:
        batch = batches(written, images=2, masks=5)[0]
        assert (batch["images"].shape, batch["images"].dtype) == ((2, 3, SIDE, SIDE), np.uint8)
        assert (batch["masks"].shape, batch["masks"].dtype) == ((2, 5, SIDE, SIDE), np.bool_)
        assert batch["images"].flags.c_contiguous
        assert batch["masks"].any(axis=(2, 3)).all()

    def test_a_batch_depends_on_seed_and_number_alone(self, written: list[Path]) -> None:
        visited = batches(written)
        for micro in (5, 0, 2, 5):
            fresh, again = batches(written)[micro], visited[micro]
            assert (fresh["images"] == again["images"]).all()
            assert (fresh["masks"] == again["masks"]).all()
        assert (batches(written, seed=1)[0]["images"] != visited[0]["images"]).any()

    def test_skipping_ahead_reads_nothing_but_the_batch(
        self, written: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = []
        monkeypatch.setattr(
            tars.Tar, "read", lambda self, index, real=tars.Tar.read: read.append(index) or real(self, index)
        )
        batches(written)[10_000]
        assert len(read) == 2

    def test_an_epoch_has_every_sample_once_and_goes_tar_by_tar(self, tmp_path: Path) -> None:
        paths = [
            pack(tmp_path / f"{part}.tar", {k: v for n in part for k, v in sample(int(n)).items()})
            for part in ("123", "456", "789")
        ]
        data = batches(paths, images=3)
        epochs = [shown(data, range(first, first + 3)) for first in (0, 3, 6, 9)]
        for epoch in epochs:
            assert sorted(epoch) == list(range(1, 10))
            assert {tuple(sorted(epoch[at : at + 3])) for at in (0, 3, 6)} == {(1, 2, 3), (4, 5, 6), (7, 8, 9)}
        assert len(set(map(tuple, epochs))) == 4
        assert len({tuple((n - 1) // 3 for n in epoch[::3]) for epoch in epochs}) > 1  # the tars' order too

    def test_batches_go_on_over_the_end_of_an_epoch(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "a.tar", some(3))
        seen = shown(batches([path], images=2), range(3))
        assert sorted(seen[:3]) == sorted(seen[3:]) == [1, 2, 3]

    def test_they_travel_to_other_processes(self, written: list[Path]) -> None:
        data = batches(written)
        assert (pickle.loads(pickle.dumps(data))[3]["images"] == data[3]["images"]).all()

    def test_masks_are_objects_of_their_photo(self, written: list[Path]) -> None:
        objects = {
            tars_squash(scene.mask(n)).tobytes()
            for scene in (draw_scene(TRAINING_SEED, index) for index in range(SCENES))
            for n in scene.objects()
        }
        batch = batches(written, images=SCENES, masks=6)[0]
        assert {mask.tobytes() for masks in batch["masks"] for mask in masks} <= objects

    def test_folders_of_tars_and_of_their_unpacked_files_are_the_same_data(self, tmp_path: Path) -> None:
        unpacked = unpack(tmp_path / "unpacked", some(4))
        packed = tmp_path / "packed"
        packed.mkdir()
        pack(packed / "sa_000000.tar", some(4))
        for micro in range(3):
            first, second = batches([unpacked])[micro], batches([packed])[micro]
            assert (first["images"] == second["images"]).all()
            assert (first["masks"] == second["masks"]).all()

    def test_the_samples_can_be_read(self, shared: Path) -> None:
        data = batches([shared / "samples" / "sa1b"], images=20, masks=3)
        batch = data[0]
        assert len(data) == 20
        assert not data.skipped
        assert batch["masks"].any(axis=(2, 3)).all()
        assert len({image.tobytes() for image in batch["images"]}) == 20


class TestDecoding:
    def test_photos_are_squashed_as_torch_interpolates(self) -> None:
        image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
        photo = io.BytesIO()
        Image.fromarray(image).save(photo, "PNG")
        annotations = sample(1, height=45, width=70)["sa_1.json"]
        for side in (32, 64, 100):
            got, _ = decode_sample(photo.getvalue(), annotations, masks=1, size=side, rng=np.random.default_rng(0))
            pixels = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32))
            expected = F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)[0].numpy()
            assert np.abs(got - expected).max() <= 1.01  # rounding to whole numbers

    def test_masks_are_squashed_with_their_photo(self) -> None:
        files = sample(1, height=64, width=48, masks=40)
        _, masks = decode_sample(*files.values(), masks=40, size=SIDE, rng=np.random.default_rng(0))
        rows = {int(np.flatnonzero(mask.any(axis=1))[0]) for mask in masks}
        assert rows == set(range(20))  # of 64 rows, each second one is the centre of a row of 32
        assert all(mask.all(axis=1).sum() == 1 for mask in masks)

    def test_masks_repeat_only_where_there_are_too_few(self) -> None:
        files = sample(1, masks=10)
        for wanted in (1, 10, 25):
            _, masks = decode_sample(*files.values(), masks=wanted, size=24, rng=np.random.default_rng(0))
            assert len(masks) == wanted
            assert len({mask.tobytes() for mask in masks}) == min(wanted, 10)

    @pytest.mark.parametrize("reason", BROKEN)
    def test_what_is_wrong_with_a_sample_is_said(self, reason: str) -> None:
        with pytest.raises(BrokenSample, match=reason):
            decode_sample(*BROKEN[reason].values(), masks=4, size=SIDE, rng=np.random.default_rng(0))


class TestBrokenSamples:
    @pytest.mark.parametrize("reason", BROKEN)
    def test_another_one_takes_its_place_and_the_reason_is_counted(self, reason: str, tmp_path: Path) -> None:
        data = batches([pack(tmp_path / "a.tar", {**some(4), **BROKEN[reason]})])
        assert set(shown(data, range(4))) <= {1, 3, 4}
        assert data.skipped == {reason: 1}

    def test_the_others_are_what_they_would_have_been(self, tmp_path: Path) -> None:
        sound = shown(batches([pack(tmp_path / "a.tar", some(6))]), range(6))
        broken = shown(batches([pack(tmp_path / "b.tar", {**some(6), **BROKEN["no masks"]})]), range(6))
        assert [a for a in sound if a != 2] == [b for a, b in zip(sound, broken, strict=True) if a != 2]

    def test_known_ones_do_not_change_what_comes_after(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "a.tar", {**some(4), **BROKEN["no masks"]})
        data = batches([path])
        visited = [shown(data, range(micro, micro + 1)) for micro in (3, 1, 0, 2, 3)]
        assert [shown(batches([path]), range(micro, micro + 1)) for micro in (3, 1, 0, 2, 3)] == visited

    def test_one_of_its_files_missing_is_counted(self, tmp_path: Path) -> None:
        files = some(3)
        del files["sa_2.json"]
        for path in (pack(tmp_path / "a.tar", {**files, "LICENSE.txt": b"x"}), unpack(tmp_path / "b", files)):
            data = batches([path])
            assert (len(data), data.skipped) == (2, {"sample without all of its files": 1})

    def test_files_of_a_sample_need_not_lie_side_by_side(self, tmp_path: Path) -> None:
        files = some(3)
        names = sorted(files, key=lambda name: (name.endswith("json"), name))
        data = batches([pack(tmp_path / "a.tar", {f"./{name}": files[name] for name in names})])
        assert sorted(shown(data, range(3))[:3]) == [1, 2, 3]
        assert not data.skipped

    @pytest.mark.parametrize("cut", ["within a file", "between files", "at the end", "damaged header"])
    def test_of_a_truncated_tar_the_whole_samples_are_read(self, cut: str, tmp_path: Path) -> None:
        path = pack(tmp_path / "a.tar", some(3))
        content = path.read_bytes()
        start = content.index(b"sa_3.json")  # its header
        path.write_bytes(
            {
                "within a file": content[: start + 600],
                "between files": content[:start],
                "at the end": content[: start + 512 * (1 - -len(some(3)["sa_3.json"]) // 512)],
                "damaged header": content[:start] + b"#" * 512 + content[start + 512 :],
            }[cut]
        )
        data = batches([path])
        assert data.skipped["tar that is cut short or damaged"] == 1
        assert set(shown(data, range(3))) == ({1, 2, 3} if cut == "at the end" else {1, 2})

    @pytest.mark.parametrize(
        "kind,left",
        [
            ("zeros from the second sample on", {1}),
            ("zeros in place of two samples", {1, 4, 5, 6}),
            ("zeros at the beginning", {3, 4, 5, 6}),
            ("garbage between two samples", {1, 2, 3, 4, 5, 6}),
            ("garbage in place of a header", {1, 3, 4, 5, 6}),
            ("garbage behind the end", {1, 2, 3, 4, 5, 6}),
            ("more zeros than pad a record", {1, 2, 3, 4, 5, 6}),
            ("a size below zero", {1, 3, 4, 5, 6}),
        ],
    )
    def test_no_sample_is_lost_in_silence(self, kind: str, left: set[int], tmp_path: Path) -> None:
        path = pack(tmp_path / "a.tar", some(6))
        whole = path.read_bytes()
        second, third, fourth = (whole.index(f"sa_{number}.jpg".encode()) for number in (2, 3, 4))
        header = tarfile.TarInfo("sa_2.jpg")
        header.size = -(1 << 40)
        path.write_bytes(
            {
                "zeros from the second sample on": whole[:second] + bytes(len(whole) - second),
                "zeros in place of two samples": whole[:second] + bytes(fourth - second) + whole[fourth:],
                "zeros at the beginning": bytes(third) + whole[third:],
                "garbage between two samples": whole[:second] + b"?" * 1536 + whole[second:],
                "garbage in place of a header": whole[:second] + b"?" * 512 + whole[second + 512 :],
                "garbage behind the end": whole + b"?" * 512,
                "more zeros than pad a record": whole + bytes(10_240),
                "a size below zero": whole[:second] + header.tobuf(tarfile.GNU_FORMAT) + whole[second + 512 :],
            }[kind]
        )
        data = batches([path])
        assert data.skipped["tar that is cut short or damaged"] == 1
        assert set(shown(data, range(6))) == left

    def test_a_tar_of_nothing_but_zeros_is_counted(self, tmp_path: Path) -> None:
        (tmp_path / "b.tar").write_bytes(bytes(10_240))
        data = batches([pack(tmp_path / "a.tar", some(2)), tmp_path / "b.tar"])
        assert (len(data), data.skipped) == (2, {"tar that is cut short or damaged": 1})

    @pytest.mark.parametrize("end", [512, 1024, None], ids=["one block", "two blocks", "padded"])
    def test_tars_one_behind_the_other_are_one_tar(self, end: int | None, tmp_path: Path) -> None:
        parts = [pack(tmp_path / f"{n}.tar", sample(n)).read_bytes() for n in (1, 2, 3)]
        used = [len(part.rstrip(b"\0")) // 512 * 512 + 512 for part in parts]
        (tmp_path / "all.tar").write_bytes(parts[0] + parts[1] + (parts[2][: used[2] + end] if end else parts[2]))
        data = batches([tmp_path / "all.tar"])
        assert not data.skipped
        assert set(shown(data, range(3))) == {1, 2, 3}

    @pytest.mark.parametrize(
        "mode,name", [("w:gz", "a.tar"), ("w:gz", "a.tgz"), ("w:xz", "a.tar.xz"), ("w:bz2", "a.tar")]
    )
    def test_a_compressed_tar_is_called_so(self, mode: str, name: str, tmp_path: Path) -> None:
        (tmp_path / "sa1b").mkdir()
        with tarfile.open(tmp_path / "sa1b" / name, mode) as archive:
            archive.addfile(tarfile.TarInfo("sa_1.jpg"), io.BytesIO())
        with pytest.raises(BenchError, match=r"no photo .* is whole \(1 x tar that is compressed\): decompress it"):
            batches([tmp_path / "sa1b"])
        report = verify("sa1b", tmp_path)
        assert not report.ok
        assert f"{tmp_path / 'sa1b' / name}: 1 x tar that is compressed, decompress it (gunzip)" in report.lines

    def test_zeros_in_place_of_contents_break_their_sample_alone(self, tmp_path: Path) -> None:
        files = some(3)
        files["sa_2.json"] = bytes(len(files["sa_2.json"]))
        data = batches([pack(tmp_path / "a.tar", files)])
        assert set(shown(data, range(3))) == {1, 3}
        assert data.skipped == {"annotations that are malformed or cut short": 1}

    def test_a_file_that_is_no_tar_is_left_out_and_counted(self, tmp_path: Path) -> None:
        (tmp_path / "b.tar").write_text("<html>403 Forbidden</html>" * 40)
        data = batches([pack(tmp_path / "a.tar", some(2)), tmp_path / "b.tar"])
        assert (len(data), data.skipped) == (2, {"tar that is cut short or damaged": 1})

    def test_if_nothing_is_left_one_sentence_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "b.tar").write_bytes(b"x" * 2000)
        with pytest.raises(BenchError, match=r"no photo with annotations is whole .*1 x tar that is cut short"):
            batches([tmp_path / "b.tar"])
        data = batches([pack(tmp_path / "a.tar", BROKEN["no masks"])])
        with pytest.raises(BenchError, match=r"no usable sample is left among 1 of 1 .*\(1 x no masks\): check"):
            data[0]

    def test_an_empty_folder_is_missing_data(self, tmp_path: Path) -> None:
        with pytest.raises(MissingData, match=r"no tar and no sa_N.jpg .*https://ai.meta.com"):
            batches([tmp_path])
        with pytest.raises(BenchError, match=r"absent\.tar cannot be read"):
            batches([tmp_path / "absent.tar"])


class TestListing:
    def test_a_tar_is_listed_once(self, written: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        first = batches(written)[0]
        monkeypatch.setattr(tars, "_samples", None)
        assert (batches(written)[0]["images"] == first["images"]).all()

    def test_a_tar_that_was_replaced_is_listed_again(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "a.tar", some(2))
        assert len(batches([path])) == 2
        pack(path, some(4))
        assert len(batches([path])) == 4

    def test_samples_are_those_that_webdataset_reads(self, written: list[Path]) -> None:
        for path in written:
            ours = tars.Tar(path, sa1b.EXTENSIONS)
            theirs = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))
            assert [ours.read(index) for index in range(len(ours))] == [
                {extension: found[extension] for extension in sa1b.EXTENSIONS} for found in theirs
            ]


class TestWriting:
    def test_the_layout_is_the_published_one(self, written: list[Path]) -> None:
        assert [path.name for path in written] == ["sa_000000.tar", "sa_000001.tar", "sa_000002.tar"]
        with tarfile.open(written[1]) as archive:
            assert archive.getnames() == [f"sa_{n}.{e}" for n in (4, 5, 6) for e in ("jpg", "json")]
            content = json.load(archive.extractfile("sa_5.json"))  # type: ignore[arg-type]
        assert content["image"] == {"image_id": 5, "width": 256, "height": 256, "file_name": "sa_5.jpg"}
        keys = ["area", "bbox", "crop_box", "id", "point_coords", "predicted_iou", "segmentation", "stability_score"]
        assert {tuple(sorted(entry)) for entry in content["annotations"]} == {tuple(keys)}

    def test_masks_are_exact_and_the_click_is_on_them(self, written: list[Path]) -> None:
        scene = draw_scene(TRAINING_SEED, 0)
        content = json.loads(tars.Tar(written[0], sa1b.EXTENSIONS).read(0)["json"])
        assert len(content["annotations"]) == len(scene.objects())
        for entry, number in zip(content["annotations"], scene.objects(), strict=True):
            mask = rle.decode(entry["segmentation"]).astype(bool)
            assert (mask == scene.mask(number)).all()
            assert entry["area"] == mask.sum()
            ((x, y),) = entry["point_coords"]
            assert mask[int(y), int(x)]

    def test_scenes_of_ones_own_can_be_written_again(self, tmp_path: Path) -> None:
        scenes = [draw_scene(9, 0)]
        first = write_sa1b_tars(scenes, tmp_path / "new", 5)[0].read_bytes()
        assert write_sa1b_tars(iter(scenes), tmp_path / "new", 5)[0].read_bytes() == first
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["sa_000000.tar"]
        with pytest.raises(BenchError, match="at least 1 scene"):
            write_sa1b_tars(scenes, tmp_path, 0)


class TestVerify:
    def test_tars_are_a_sound_subset(self, tmp_path: Path) -> None:
        write_sa1b_tars(2, tmp_path / "sa1b", 1)
        report = verify("sa1b", tmp_path)
        assert (report.ok, report.complete) == (True, False)
        assert "a subset: 2 of 11,185,362 images, 2 tars" in report.lines

    def test_cut_tars_and_broken_samples_are_reported(self, tmp_path: Path) -> None:
        (tmp_path / "sa1b").mkdir()
        pack(tmp_path / "sa1b" / "a.tar", {**some(2), **BROKEN["no masks"]})
        path = pack(tmp_path / "sa1b" / "b.tar", some(2))
        path.write_bytes(path.read_bytes()[:2000])
        report = verify("sa1b", tmp_path)
        assert not report.ok
        text = "\n".join(report.lines)
        assert "b.tar: 1 x tar that is cut short or damaged, download it again" in text
        assert "a.tar:sa_2: no masks" in text

    def test_unpacked_files_are_decoded_too(self, tmp_path: Path) -> None:
        unpack(tmp_path / "sa1b", {**some(3), **BROKEN["no masks"]})
        report = verify("sa1b", tmp_path)
        assert not report.ok
        assert any("sa_2.jpg: no masks" in line for line in report.lines)


def tars_squash(mask: np.ndarray) -> np.ndarray:
    """Return a mask of 256 px at SIDE px: the pixel at the centre of each cell."""
    step = mask.shape[0] // SIDE
    return mask[step // 2 :: step, step // 2 :: step]
