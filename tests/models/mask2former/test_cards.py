"""Table 3's models: a card a row, weights only from files, and never the wrong ones."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("mmseg", reason="the extra `semantic` is not installed")

from bench.training.runs import RUNS
from bench.training.train import export
from models import row_cards
from models.errors import BenchError
from models.mask2former import cards

MICRO = "mask2former-sami-ti-micro"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    export(RUNS[MICRO].build(), path, {"model": MICRO})
    return path


def test_every_row_of_the_paper_has_a_card_and_four_a_stand_in(shared) -> None:
    with (shared / "paper" / "table3.csv").open() as file:
        rows = [row["method"] for row in csv.DictReader(file)]
    assert [card.paper_row for card in cards.CARDS if card.scale == "paper"] == rows
    assert [card.paper_row for card in cards.CARDS if card.scale == "micro"] == [*rows[:4], cards.CONTROL]
    assert len({card.name for card in cards.CARDS}) == len(cards.CARDS)


def test_a_micro_checkpoint_answers_about_photos(checkpoint) -> None:
    model = cards.load(MICRO, checkpoint)
    rng = np.random.default_rng(0)
    photo, truth = rng.integers(0, 256, (70, 64, 3), dtype=np.uint8), rng.integers(0, 5, (70, 64), dtype=np.uint8)
    truth[:10] = 255
    intersections, unions = model.areas(photo, truth, 5)
    assert (intersections <= unions).all()
    assert unions.sum() == 2 * 60 * 64 - intersections.sum()
    with pytest.raises(BenchError, match=f"model '{MICRO}' knows 5 classes but the data set has 150"):
        model.areas(photo, truth, 150)


def test_a_checkpoint_of_another_size_is_refused(checkpoint) -> None:
    with pytest.raises(BenchError, match="mask2former-sami-s-micro"):
        cards.load("mask2former-sami-s-micro", checkpoint)


def test_nobody_can_have_the_paper_s_weights(tmp_path) -> None:
    usable, why = cards.available("mask2former-sami-b")
    assert not usable
    assert "released no segmentation model" in why
    with pytest.raises(BenchError, match="there are no weights of 'mask2former-sami-b'"):
        cards.load("mask2former-sami-b")
    with pytest.raises(BenchError, match="there is no checkpoint"):
        cards.load("mask2former-sami-b", tmp_path / "none.pth")
    with pytest.raises(BenchError, match="did you mean 'mask2former-sami-s'"):
        cards.load("mask2former-sami-ss")


def test_weights_that_are_not_trained_yet_say_how_to_train_them(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_cards, "PACKAGED", tmp_path)
    usable, why = cards.available(MICRO)
    assert not usable
    assert why.endswith(": train it with `nox -s reproduce_table3 -- --train`")


def test_packaged_weights_must_be_those_of_their_record(checkpoint, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_cards, "PACKAGED", tmp_path)
    (tmp_path / f"{MICRO}.safetensors").write_bytes(checkpoint.read_bytes())
    (tmp_path / f"{MICRO}.json").write_bytes(checkpoint.with_suffix(".json").read_bytes())
    assert not cards.load(MICRO).custom
    (tmp_path / f"{MICRO}.json").write_text('{"sha256": "0"}')
    with pytest.raises(BenchError, match=r"is not the file that .* tells of"):
        cards.load(MICRO)
