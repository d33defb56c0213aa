"""The classifiers of Table 1: a card a row, weights only from files, and never the wrong ones."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.training.runs import RUNS
from models.classifier import cards as classifiers
from models.classifier.network import evaluate_classifier
from models.errors import BenchError

MICRO = "mae-ti-micro-classify"
PAPER = [card for card in classifiers.CARDS if card.scale == "paper"]


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty weights folder."""
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A micro classifier that gives different answers to different photos."""
    torch.manual_seed(0)
    network = RUNS[MICRO].build()
    torch.nn.init.normal_(network.head.weight)  # type: ignore[arg-type, union-attr]
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file({name: value.half() for name, value in network.state_dict().items()}, path)
    return path


class TestCards:
    def test_every_row_of_the_papers_table_has_one(self, shared: Path) -> None:
        with (shared / "paper" / "table1.csv").open() as file:
            rows = [row["method"] for row in csv.DictReader(file)]
        assert [card.paper_row for card in PAPER] == rows

    def test_names_are_unique_and_each_says_what_a_reader_must_know(self) -> None:
        assert len({card.name for card in classifiers.CARDS}) == len(classifiers.CARDS)
        assert all(card.note for card in classifiers.CARDS)

    def test_timm_knows_the_architectures(self) -> None:
        assert all(timm.is_model(card.timm) for card in PAPER if card.timm)

    def test_published_files_are_those_that_timm_would_fetch(self) -> None:
        checked = [card for card in PAPER if card.name.startswith("deit")]
        assert len(checked) == 3
        for card in checked:
            assert timm.get_pretrained_cfg(card.timm).url == card.url

    def test_sami_has_no_weights_and_an_own_checkpoint_can_be_loaded_all_the_same(self) -> None:
        assert not classifiers.card("sami-b").released
        with pytest.raises(BenchError, match="no weights of 'sami-b': the paper's authors released"):
            classifiers.load("sami-b")
        with pytest.raises(BenchError, match="check the path"):
            classifiers.load("sami-b", "nowhere.pth")

    def test_an_unknown_name_gets_the_nearest_one(self) -> None:
        with pytest.raises(BenchError, match="did you mean 'deit-ti'"):
            classifiers.card("deit-tt")


class TestPublishedNames:
    def test_deit_3_calls_its_layer_scales_by_another_name(self) -> None:
        with torch.device("meta"):
            wanted = timm.create_model("deit3_base_patch16_224").state_dict()
        published = {
            name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): wanted[name] for name in wanted
        }
        assert published.keys() != wanted.keys()
        assert classifiers.renamed(published).keys() == wanted.keys()
        assert classifiers.renamed(wanted).keys() == wanted.keys()

    def test_maes_finetuned_checkpoint_averages_patch_tokens(self) -> None:
        with torch.device("meta"):
            network = classifiers._build(classifiers.card("mae-b"), {"fc_norm.weight": torch.ones(1)})
        assert {"fc_norm.bias", "head.weight"} <= network.state_dict().keys()
        assert "norm.weight" not in network.state_dict()


class TestLoading:
    def test_a_checkpoint_by_path_answers_as_its_network_does(self, checkpoint: Path) -> None:
        found = classifiers.load(MICRO, checkpoint)
        photos = list(np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8))
        answers = found.predict(photos)
        np.testing.assert_array_equal(answers, evaluate_classifier(found.network, photos))
        assert answers.shape == (3, 5)
        assert len(np.unique(answers, axis=0)) > 1 or answers.max() > 4
        assert (found.name, found.custom) == (MICRO, True)
        assert found.checkpoint_sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()

    def test_a_checkpoint_of_another_model_is_refused(self, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("models.checkpoints.fitting_model", lambda state: None)  # builds the whole zoo
        with pytest.raises(BenchError, match="does not fit 'mae-s-micro-classify'"):
            classifiers.load("mae-s-micro-classify", checkpoint)

    def test_a_pretrained_encoder_without_a_head_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("models.checkpoints.fitting_model", lambda state: None)  # builds the whole zoo
        state = {n: v for n, v in RUNS[MICRO].build().state_dict().items() if not n.startswith("head")}
        save_file(state, tmp_path / "headless.safetensors")
        with pytest.raises(BenchError, match=r"2 missing: head\.weight, head\.bias"):
            classifiers.load(MICRO, tmp_path / "headless.safetensors")

    def test_nan_weights_are_refused(self, checkpoint: Path, tmp_path: Path) -> None:
        state = RUNS[MICRO].build().state_dict()
        state["head.bias"][0] = torch.nan
        save_file(state, tmp_path / "nan.safetensors")
        with pytest.raises(BenchError, match="NaN"):
            classifiers.load(MICRO, tmp_path / "nan.safetensors")

    def test_missing_weights_are_an_error_with_an_address_and_no_download(
        self, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_network(*args: object, **kwargs: object) -> None:
            raise AssertionError("the network was asked")

        monkeypatch.setattr("socket.socket.connect", no_network)
        with pytest.raises(
            BenchError, match=r"run `bench weights fetch deit-ti`, or download https://.*b40b3cf7\.pth to '"
        ):
            classifiers.load("deit-ti")
        assert classifiers.available("deit-ti")[0] is False
        assert list(weights.iterdir()) == []

    @pytest.mark.parametrize("name, algorithm", [("deit-ti", "sha256"), ("mae-b", "md5")])
    def test_another_file_under_the_published_name_is_refused(self, weights: Path, name: str, algorithm: str) -> None:
        (weights / str(classifiers.card(name).filename)).write_bytes(b"something else")
        usable, why = classifiers.available(name)
        assert not usable
        assert f"its {algorithm} begins with" in why
        with pytest.raises(BenchError, match="not the published checkpoint"):
            classifiers.load(name)

    def test_an_unknown_device_is_an_error(self, checkpoint: Path) -> None:
        with pytest.raises(BenchError, match="device 'abacus' cannot be used"):
            classifiers.load(MICRO, checkpoint, device="abacus")
