import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from bench.store.bounded import BoundedFolder
from models.errors import BenchError
from protocols import shards, table4
from protocols.axes import PAPER, Axes
from protocols.instance_sets import open_instance_set
from protocols.run import _remembering, run_model
from tests.protocols.fakes import DiscModel, FakeRegistry, disc, settings, write_coco


@pytest.fixture
def work(tmp_path, use):
    use(table4, FakeRegistry(), IMAGES_A_SHARD=2)
    write_coco(tmp_path / "data", [[disc(20, 16, 4 + k)] for k in range(5)])

    def make(model=None, axes=PAPER, limit=None):
        return model or DiscModel(), data_of(tmp_path, axes, limit)

    return make


def data_of(tmp_path, axes=PAPER, limit=None):
    plan = SimpleNamespace(root=tmp_path / "data")
    return open_instance_set("coco", plan, settings(tmp_path / "runs", axes=axes, limit=limit))


def run(asked, tmp_path):
    model, data = asked
    (done,) = run_model(model, [(table4, data)], settings(tmp_path / "runs"))
    return done


class FailingModel(DiscModel):
    """Answers with NaN from its fourth image on."""

    images = 0

    def embed(self, images):
        self.images += 1
        if self.images > 3:
            raise BenchError("model 'disc' answered with NaN")
        return super().embed(images)


def test_a_cell_has_one_record_for_each_prompt(work, tmp_path):
    records = run(work(), tmp_path).records
    assert len(records) == 5 * 3
    assert records.dtypes.astype(str).to_dict()["iou"] == "float64"


def test_a_finished_cell_is_not_computed_again(work, tmp_path):
    first = run(work(), tmp_path)
    again = run(work(FailingModel()), tmp_path)
    assert (first.resumed, again.resumed) == (0, 5)
    assert again.fingerprint == first.fingerprint
    assert again.records.equals(first.records)


def test_a_failed_cell_keeps_what_was_finished_and_goes_on_from_there(work, tmp_path):
    with pytest.raises(BenchError, match="NaN"):
        run(work(FailingModel()), tmp_path)
    again = run(work(), tmp_path)
    assert again.resumed == 2
    assert again.records.equals(run(work(), tmp_path / "whole").records)


@pytest.mark.parametrize("change", [{"axes": Axes(seed=1)}, {"limit": 2}], ids=["axes", "limit"])
def test_what_changes_a_record_makes_another_run(work, tmp_path, change):
    assert run(work(**change), tmp_path).fingerprint != run(work(), tmp_path).fingerprint


def test_an_image_that_cannot_be_read_is_skipped_and_said_so(work, tmp_path):
    broken = work()[1].asked.images[1].path
    broken.write_bytes(broken.read_bytes()[:60])
    done = run(work(), tmp_path)
    assert list(done.skipped) == [2]
    assert str(broken) in done.skipped[2]
    assert done.image_ids == (1, 3, 4, 5)
    assert sorted(done.records["image_id"].unique()) == [1, 3, 4, 5]


def test_an_image_of_another_size_than_stated_is_skipped_and_said_so(work, tmp_path):
    first, second = (info.path for info in work()[1].asked.images[:2])
    Image.new("RGB", (7, 7)).save(second)
    assert "is 7 x 7 (height x width) but its annotations are for 32 x 40" in run(work(), tmp_path).skipped[2]
    assert first.exists()


def repaint(path, colour):
    Image.new("RGB", Image.open(path).size, colour).save(path)


class Counting(DiscModel):
    """Counts the images it is asked about."""

    def __init__(self):
        super().__init__()
        self.images = 0

    def embed(self, images):
        self.images += len(images)
        return super().embed(images)


def asked_again(work, tmp_path):
    """Return how many images a model is asked about in a second session, and what comes of it."""
    model = Counting()
    done = run(work(model), tmp_path)
    fresh = run(work(), tmp_path / "fresh")
    assert done.records.equals(fresh.records)
    assert (done.skipped, done.image_ids) == (fresh.skipped, fresh.image_ids)
    return model.images


def test_as_many_other_images_are_another_run(work, tmp_path):
    first, last = (work()[1].asked.images[k].path for k in (0, 4))
    first.rename(tmp_path / "aside")
    without_first = run(work(), tmp_path)
    (tmp_path / "aside").rename(first)
    last.unlink()
    without_last = run(work(), tmp_path)
    assert (without_first.image_ids, without_last.image_ids) == ((2, 3, 4, 5), (1, 2, 3, 4))
    assert without_last.resumed == 0
    assert without_last.records.equals(run(work(), tmp_path / "fresh").records)


@pytest.mark.parametrize("how", ["cut short", "not permitted", "of another size", "no image"])
def test_an_image_that_can_be_read_again_is_asked_and_the_others_are_resumed(work, tmp_path, how):
    path = work()[1].asked.images[2].path
    sound = path.read_bytes()
    if how == "cut short":
        path.write_bytes(sound[:60])
    elif how == "not permitted":
        path.unlink()
        path.mkdir()  # root may read everything; nobody may read a folder
    elif how == "of another size":
        repaint(path, "red")
        Image.new("RGB", (7, 7)).save(path)
    else:
        path.write_bytes(b"<html>")
    assert list(run(work(), tmp_path).skipped) == [3]
    if how == "not permitted":
        path.rmdir()
    path.write_bytes(sound)
    assert asked_again(work, tmp_path) == 2  # its shard
    assert asked_again(work, tmp_path) == 0


def test_an_image_that_a_passing_fault_kept_from_being_read_is_asked_again(work, tmp_path, monkeypatch):
    def busy(path, *, size):
        if path.name.endswith("4.png"):
            raise BenchError(f"{path} cannot be read (Input/output error)")
        return cells_read(path, size=size)

    cells_read = shards.read_rgb
    with monkeypatch.context() as patch:
        patch.setattr(shards, "read_rgb", busy)
        assert list(run(work(), tmp_path).skipped) == [4]
    assert asked_again(work, tmp_path) == 2


@pytest.mark.parametrize("same_time", [False, True])
def test_a_replaced_image_is_asked_again_with_its_shard_alone(work, tmp_path, same_time):
    path = work()[1].asked.images[0].path
    repaint(path, (1, 2, 3))
    size = path.stat().st_size
    run(work(), tmp_path)
    before = path.stat()
    repaint(path, (3, 2, 1))
    assert path.stat().st_size == size
    if same_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert asked_again(work, tmp_path) == 2
    repaint(path, (1, 2, 3))
    assert asked_again(work, tmp_path) == 0  # the first records are still there


def test_data_that_are_copied_elsewhere_are_the_same(work, tmp_path):
    first = run(work(), tmp_path)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "copy").rename(tmp_path / "data")
    again = run(work(FailingModel()), tmp_path)
    assert (again.fingerprint, again.resumed) == (first.fingerprint, 5)


def test_an_image_that_changes_while_it_is_asked_is_not_recorded(work, tmp_path):
    path = work()[1].asked.images[1].path

    class Meanwhile(DiscModel):
        def embed(self, images):
            repaint(path, "blue")
            return super().embed(images)

    with pytest.raises(BenchError, match=r"images of .*val2017 changed while models were asked: run the same command"):
        run(work(Meanwhile()), tmp_path)
    asked_again(work, tmp_path)


def test_processes_share_the_shards_and_agree_to_the_bit(work, tmp_path, monkeypatch):
    whole = run(work(), tmp_path / "alone").records
    store = tmp_path / "shared"
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    parts = [run(work(), store).records]
    monkeypatch.setenv("RANK", "0")
    parts.append(run(work(), store).records)
    for part in parts:
        assert part.equals(whole)


def test_infinite_logits_of_a_real_model_are_an_error_that_names_it():
    from models import micro
    from models.sam.segmenter import SamSegmenter
    from models.segmenter import Prompts

    network = micro.sam_micro()
    with torch.no_grad():
        network.mask_decoder.iou_token.weight.fill_(float("nan"))
    model = SamSegmenter(network, name="sam-micro")
    (embedding,) = model.embed([np.zeros((64, 64, 3), np.uint8)])
    with pytest.raises(BenchError, match=r"'sam-micro' answered with NaN"):
        model.segment(embedding, Prompts([[[3, 3]]], [[1]]))


def test_a_later_run_takes_embeddings_from_the_disk_and_gives_the_same_records(work, tmp_path):
    """Another store, so that nothing is resumed; another preset or table would ask the same way."""

    class Counting(DiscModel):
        embedded = 0

        def embed(self, images):
            type(self).embedded += len(images)
            return super().embed(images)

    def once(store, kept):
        model, data = work(Counting())
        asked = settings(tmp_path / store, embeddings=kept)
        parts = [SimpleNamespace(question=SimpleNamespace(table=table4), data=data)]
        (done,) = run_model(_remembering(model, parts, asked), [(table4, data)], asked)
        return done.records

    kept = BoundedFolder(tmp_path / "kept", 1 << 20)
    plain, first, second = once("none", None), once("first", kept), once("second", kept)
    assert Counting.embedded == 5 + 5, "the second run with a folder embeds none"
    assert first.equals(plain)
    assert second.equals(plain)
