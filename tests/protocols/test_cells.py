from contextlib import contextmanager

import numpy as np
import pytest
import torch

from bench.data import open_coco
from bench.store import RunStore
from models.errors import BenchError
from protocols import cells, interactive, table4
from protocols.answers import ModelAnswerer
from protocols.axes import PAPER, Axes
from tests.protocols.fakes import DiscModel, disc, write_coco


@contextmanager
def no_bar(description, total, done):
    yield lambda n: None


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "IMAGES_A_SHARD", 2)
    write_coco(tmp_path / "data", [[disc(20, 16, 4 + k)] for k in range(5)])

    def make(model=None, axes=PAPER, limit=None):
        instances = open_coco(tmp_path / "data")
        return cells.Cell(
            protocol=table4,
            ask_image=interactive.ask_image,
            answerer=ModelAnswerer(model or DiscModel(), axes),
            model_identity={"name": "disc"},
            instances=instances,
            images=instances.images[:limit],
            axes=axes,
        )

    return make


def run(cell, tmp_path):
    return cells.run_cell(cell, RunStore(tmp_path / "runs"), provenance={}, progress=no_bar)


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
    broken = work().images[1].path
    broken.write_bytes(broken.read_bytes()[:60])
    done = run(work(), tmp_path)
    assert list(done.skipped) == [2]
    assert str(broken) in done.skipped[2]
    assert done.image_ids == (1, 3, 4, 5)
    assert sorted(done.records["image_id"].unique()) == [1, 3, 4, 5]


def test_an_image_of_another_size_than_stated_is_skipped_and_said_so(work, tmp_path):
    first, second = (info.path for info in work().images[:2])
    from PIL import Image

    Image.new("RGB", (7, 7)).save(second)
    assert "is 7 x 7 (height x width) but its annotations are for 32 x 40" in run(work(), tmp_path).skipped[2]
    assert first.exists()


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
