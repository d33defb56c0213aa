"""Pretraining from the command line, with a student of toy width on a few photos."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import torch
import tyro
from PIL import Image
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from bench.cli.train import train
from bench.training import cost, features
from bench.training.options import Options, adapted
from bench.training.runs import RUNS
from models import zoo
from models.cards import resolve
from models.errors import BenchError
from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder
from models.training.recipes import IMAGENET_IMAGES, SAMI_PAPER

PHOTOS = 4
TOY = ["--steps", "2", "--images-per-step", "2", "--precision", "no", "--workers", "0"]


def toy(*, decoder: Literal["masked", "all"], target_dim: int) -> MaskedAutoencoder:
    encoder = ViTEncoder(embed_dim=24, depth=1, num_heads=2)
    return MaskedAutoencoder(
        encoder,
        target_dim=target_dim,
        decoder=decoder,
        decoder_dim=16,
        decoder_depth=1,
        decoder_heads=2,
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "imagenet" / "train"
    for index in range(PHOTOS):
        path = folder / f"n0{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).integers(0, 256, (60, 80 + index, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return folder


@pytest.fixture
def run(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run `bench train` and return the folder it wrote to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    for name in ("sami-ti", "mae-ti"):
        monkeypatch.setitem(RUNS, name, replace(RUNS[name], build=toy))

    def bench_train(model: str, *arguments: str, out: str = "training") -> Path:
        tyro.cli(train, args=[model, *TOY, "--out", out, *arguments])
        return tmp_path / out / model

    return bench_train


@pytest.fixture(autouse=True)
def _untrained_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Teachers of the zoo are those of micro size, with random weights."""

    def load(name: str, device: str) -> SimpleNamespace:
        torch.manual_seed(0)
        return SimpleNamespace(network=resolve(zoo.card(name).build)().eval())

    monkeypatch.setattr(zoo, "load", load)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


class TestRuns:
    def test_mae_writes_an_encoder_that_fits_a_vit_by_name(self, run: Callable[..., Path]) -> None:
        folder = run("mae-ti", "--accumulate", "2")
        vit = VisionTransformer(embed_dim=24, depth=1, num_heads=2, num_classes=0)
        vit.load_state_dict(load_file(folder / "weights.safetensors"))
        record = json.loads((folder / "weights.json").read_text())
        assert (record["model"], record["data"], record["teacher"]) == ("mae-ti", {"images": PHOTOS}, None)
        assert record["command"].endswith(
            "bench train mae-ti --steps 2 --images-per-step 2 --accumulate 2 --precision no"
        )
        assert record["recipe"]["norm_pixels"]
        assert len(losses(folder)) == 2

    def test_cached_features_train_like_the_teacher_itself(self, run: Callable[..., Path], tmp_path: Path) -> None:
        teacher = ("--teacher", "sam-micro", "--teacher-input", "224")
        asked = run("sami-ti", *teacher)
        features = tmp_path / "features"
        read = run("sami-ti", *teacher, "--features", str(features), "--workers", "2", out="cached")
        # Features are rounded to half precision, 5e-4 of their size.
        assert losses(read) == pytest.approx(losses(asked), rel=1e-3)
        assert json.loads((read / "weights.json").read_text())["features_cached"]

    def test_a_finished_cache_needs_no_teacher(
        self, run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = ("--teacher", "sam-micro", "--features", str(tmp_path / "features"))
        first = run("sami-ti", *settings)
        monkeypatch.setattr(features, "_target", None)
        again = run("sami-ti", *settings, out="again")
        assert losses(again) == losses(first)
        with pytest.raises(BenchError, match=r"holds features made with teacher_sha256 .*neck.* \(not .*pre-neck"):
            run("sami-ti", *settings, "--teacher-layer", "pre-neck", out="other")
        with pytest.raises(BenchError, match=r"views 1 \(not 2\)"):
            run("sami-ti", *settings, "--views", "2", out="other")

    @pytest.mark.parametrize("workers", ["0", "1"])
    def test_a_photo_that_cannot_be_read_is_named(self, run: Callable[..., Path], photos: Path, workers: str) -> None:
        (photos / "n01" / "3.png").write_bytes(b"no photo")
        with pytest.raises(BenchError, match=r"3\.png is broken or cut short"):
            run("mae-ti", "--workers", workers)

    def test_a_tracker_sees_the_losses(self, run: Callable[..., Path]) -> None:
        pytest.importorskip("tensorboard")
        folder = run("mae-ti", "--tracker", "tensorboard")
        assert list(folder.rglob("events.out.tfevents*"))

    def test_images_that_cannot_be_shared_are_refused(self, run: Callable[..., Path]) -> None:
        with pytest.raises(BenchError, match="2 images a step cannot be shared equally by 1 processes with 3"):
            run("mae-ti", "--accumulate", "3")

    def test_without_data_it_says_what_to_set(self, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BENCH_DATA")
        with pytest.raises(BenchError, match="no photos to train on: give --data, or set BENCH_DATA"):
            run("mae-ti")


@pytest.mark.parametrize(
    "model, arguments, said",
    [
        ("sami-l", {}, "unknown training 'sami-l'"),
        ("mae-s", {"teacher": "clip"}, "--teacher means nothing to mae-s: leave it out"),
        ("sami-s", {"teacher": "none"}, "take mae-s to reconstruct pixels"),
        ("mae-s", {"features": Path("x")}, "--features means nothing to mae-s: leave it out"),
        ("sami-s", {"steps": 0}, "--steps must be at least 1, got 0"),
        ("sami-s", {"teacher": "sam-vit-x"}, "unknown model 'sam-vit-x'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(model: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchError, match=said):
        train(model, options=Options(**arguments))


def test_a_teacher_of_another_kind_is_refused(run: Callable[..., Path]) -> None:
    with pytest.raises(BenchError, match="'mobilesam-micro' has no image encoder of SAM's kind"):
        run("sami-ti", "--teacher", "mobilesam-micro")


class TestRecipe:
    @pytest.mark.parametrize("name", RUNS)
    def test_on_the_images_it_was_made_for_it_is_unchanged(self, name: str) -> None:
        run = RUNS[name]
        assert adapted(run, Options(), images=run.data.images) == run.recipe

    def test_smaller_steps_keep_epochs_and_the_rate_of_an_image(self) -> None:
        options = Options(images_per_step=1024, teacher="clip", features=Path("x"), views=3)
        recipe = adapted(RUNS["sami-s"], options, images=10_000)
        changed = {"steps": 3906, "warmup_steps": 390, "images_per_step": 1024, "learning_rate": 2.4e-3 / 4}
        assert recipe == replace(SAMI_PAPER, target="clip", views=3, **changed)


class TestDryRun:
    def test_it_tells_the_cost_without_data_or_weights(
        self, run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("BENCH_DATA")
        monkeypatch.setattr(zoo, "load", None)
        folder = run("sami-ti", "--teacher", "sam-micro", "--dry-run", "--gpus", "8", "--steps", "5005")
        printed = " ".join(capsys.readouterr().out.split())
        images = 5005 * 2
        for said in (
            "steps 5,005",
            f"images the student sees {images:,}",
            f"images the teacher sees {images:,}",
            "assumed 312 TFLOP/s x 40% utilisation a GPU",
            "hours on 8 GPU(s)",
            "[196, 96]",
            "disk for its features of 1 view 50.5 GB",
        ):
            assert said in printed
        assert not folder.exists()

    def test_cached_features_spare_the_teacher(
        self, run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        run("sami-ti", "--teacher", "sam-micro", "--dry-run", "--features", "x", "--views", "3")
        printed = " ".join(capsys.readouterr().out.split())
        assert f"images the teacher sees {3 * IMAGENET_IMAGES:,}" in printed
        assert "features of 3 views 152 GB" in printed


def test_meta_is_where_a_dry_run_builds() -> None:
    target = cost._target(RUNS["sami-ti"], Options(teacher="sam-micro"))
    assert target
    assert target(torch.zeros(1, 3, 224, 224, device="meta")).shape == (1, 196, 96)
