"""What is said where detectron2 is not installed, and what its engine is asked for in vain."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bench.training.runs import RUNS
from models import row_cards
from models.errors import BenchError
from models.sami.build import MICRO_SIZES
from models.vitdet import cascades as box_detectors
from models.vitdet.build import vitdet_micro
from models.vitdet.convert import from_detectron2, to_detectron2
from models.vitdet.d2.package import need_detectron2


def test_without_detectron2_the_way_to_build_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detectron2", None)
    for ask in (need_detectron2, lambda: box_detectors.load("vitdet-h", "coco")):
        with pytest.raises(BenchError, match="engine detectron2 needs the package detectron2") as said:
            ask()
        assert all(part in str(said.value) for part in ("CXXFLAGS=-std=c++20", "--no-build-isolation", "setuptools<80"))


def test_a_detectron2_without_its_compiled_part_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the folder of its source, which stands before the installed one."""
    monkeypatch.setitem(sys.modules, "detectron2", type(sys)("detectron2"))
    monkeypatch.setitem(sys.modules, "detectron2._C", None)
    with pytest.raises(BenchError, match=r"detectron2\._C"):
        need_detectron2()


def test_torchvision_has_no_cascades() -> None:
    with pytest.raises(BenchError, match=r"'vitdet-h' is a cascade, .*--engine detectron2"):
        box_detectors.load("vitdet-h", "lvis", engine="torchvision")


def test_unknown_detectors_get_the_nearest_name() -> None:
    with pytest.raises(BenchError, match="did you mean 'vitdet-h'"):
        box_detectors.card("vitdet-hh", "coco")
    assert box_detectors.card("vitdet-sami-ti-micro", "lvis").scale == "micro"


class TestCards:
    def test_each_published_file_is_asked_for_by_address_and_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
        assert len(box_detectors.CASCADES) == 6
        for card in box_detectors.CASCADES:
            usable, why = row_cards.available(card)
            assert not usable
            assert f"{tmp_path / card.filename}': run `bench weights fetch {card.name}`, or download {card.url}" in why
            assert card.url.endswith(f"/{card.filename}")
            assert card.digest[1] in card.filename

    def test_the_file_s_md5_must_begin_as_its_name_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
        card = box_detectors.card("vitdet-h", "coco")
        (tmp_path / card.filename).write_bytes(b"another file")
        usable, why = row_cards.available(card)
        assert not usable
        assert "its md5 begins with" in why
        assert "instead of f05665" in why
        digest = hashlib.md5(b"another file").hexdigest()[:6]
        assert row_cards.available(replace(card, digest=("md5", digest))) == (True, "")

    def test_limits_are_those_of_the_data_set(self) -> None:
        network = box_detectors.network_of(box_detectors.card("vitdet-h", "lvis"))
        assert network.classes == 1203
        assert (network.roi_heads.score_thresh, network.roi_heads.detections_per_img) == (0.02, 300)
        assert (network.backbone.embed_dim, len(network.backbone.blocks)) == (1280, 32)


class TestConversion:
    def test_heads_of_any_depth_go_to_detectron2_and_back(self) -> None:
        """Bit for bit, but for the background's box and mask, which nothing reads and detectron2 has not."""
        torch.manual_seed(0)
        state = vitdet_micro(MICRO_SIZES["ti"], classes=3).state_dict()
        theirs = to_detectron2(state)
        assert "roi_heads.box_head.fc1.weight" in theirs
        assert "roi_heads.box_head.conv2.norm.weight" in theirs
        back = from_detectron2(theirs)
        assert back.keys() == state.keys()
        for name, value in back.items():
            unread = 4 if "bbox_pred" in name and "roi_heads" in name else 1 if "mask_fcn_logits" in name else 0
            assert torch.equal(value[unread:], state[name][unread:])
            assert not value[:unread].any()

    def test_the_torchvision_engine_reads_what_was_converted(self, tmp_path: Path) -> None:
        name = "vitdet-sami-ti-micro"
        torch.manual_seed(0)
        save_file(to_detectron2(RUNS[name].build().state_dict()), tmp_path / "theirs.safetensors")
        assert box_detectors.load(name, "coco", tmp_path / "theirs.safetensors").name == name
