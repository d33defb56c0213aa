"""Finetuning at paper scale from the command line, with networks of toy width on a few dead leaves."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

from bench.cli.train import train
from bench.data.dead_leaves.ade20k import NAMES
from bench.training import train as assembly
from bench.training.options import Options, adapted
from bench.training.runs import PAPER, RUNS
from models.checkpoints import sha256_of
from models.classifier.network import Classifier
from models.efficientsam.build import efficientsam
from models.efficientsam.network import EfficientSamNetwork
from models.errors import BenchError, MissingData
from models.mask2former.build import mask2former
from models.sami.encoder import ViTEncoder
from models.training.recipes import DETECT_PAPER, SA1B_IMAGES, SEMANTIC_PAPER
from models.vitdet.build import vitdet_micro
from models.vitdet.checkpoint import read_detector
from models.vitdet.network import VitDet
from tests.bench.data.ade20k_files import scene_pairs, write_ade20k
from tests.bench.data.dead_leaves.sa1b_tars import write_sa1b_tars
from tests.bench.data.training.test_detection import lay_out
from tests.models.mask2former.toys import TOY, toy_network

WIDTH = {"embed_dim": 24, "depth": 1, "num_heads": 2}
SHORT = ["--steps", "2", "--images-per-step", "2", "--precision", "no", "--workers", "0"]


def toy_efficientsam() -> EfficientSamNetwork:
    return efficientsam(img_size=64, prompt_dim=16, decoder_heads=2, decoder_mlp_dim=16, iou_head_hidden_dim=8, **WIDTH)


def toy_classifier(*, classes: int, drop_path: float) -> Classifier:
    return Classifier(ViTEncoder(**WIDTH), classes, drop_path=drop_path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_sa1b_tars(4, root / "sa1b", per_tar=2)
    for index, wnid in enumerate(("n01440764", "n01443537", "n01440764")):
        path = root / "imagenet" / "train" / wnid / f"{index}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(index).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    return root


@pytest.fixture
def run(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run `bench train` from a toy encoder and return the folder it wrote to."""
    monkeypatch.setenv("BENCH_DATA", str(data))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(RUNS, "efficientsam-ti", replace(RUNS["efficientsam-ti"], build=toy_efficientsam))
    monkeypatch.setitem(RUNS, "sami-ti-classify", replace(RUNS["sami-ti-classify"], build=toy_classifier))

    def bench_train(model: str, *arguments: str) -> Path:
        encoder = tmp_path / "training" / "sami-ti" / "weights.safetensors"
        if not encoder.exists():
            encoder.parent.mkdir(parents=True)
            torch.manual_seed(3)
            save_file(ViTEncoder(**WIDTH).state_dict(), encoder)
        tyro.cli(train, args=[model, *SHORT, "--out", str(tmp_path / "training"), *arguments])
        return tmp_path / "training" / model

    return bench_train


def pretrained(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder.parent / "sami-ti" / "weights.safetensors")


def test_sa1b_finetuning_writes_weights_of_the_promptable_model(run: Callable[..., Path]) -> None:
    folder = run("efficientsam-ti", "--accumulate", "2")
    network = toy_efficientsam()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    record = json.loads((folder / "weights.json").read_text())
    assert (record["model"], record["data"]) == ("efficientsam-ti", {"images": 4, "skipped": {}})
    assert record["encoder_sha256"] == sha256_of(folder.parent / "sami-ti" / "weights.safetensors")
    losses = [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 2


def test_finetuning_starts_from_the_pretrained_encoder(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, torch.Tensor] = {}

    def looked_at(trainer: Any, *_: Any, **__: Any) -> None:
        seen.update(trainer.network.image_encoder.state_dict())
        raise BenchError("seen")

    monkeypatch.setattr(assembly, "train_network", looked_at)
    with pytest.raises(BenchError, match=r"^seen$"):
        run("efficientsam-ti")
    torch.manual_seed(3)
    encoder = ViTEncoder(**WIDTH)
    assert (seen["blocks.0.attn.qkv.weight"] == encoder.state_dict()["blocks.0.attn.qkv.weight"]).all()
    assert (seen["pos_embed"] == encoder.pos_embed).all()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_broken_sample_of_sa1b_is_skipped_and_counted(run: Callable[..., Path], tmp_path: Path, workers: str) -> None:
    folder = tmp_path / "broken" / "sa1b"
    write_sa1b_tars(4, folder, per_tar=2)
    with tarfile.open(folder / "sa_000009.tar", "w") as tar:
        for name, content in (("sa_9.jpg", b"no photo"), ("sa_9.json", b"{}")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    written = run("efficientsam-ti", "--data", str(folder.parent), "--steps", "5", "--workers", workers)
    skipped = json.loads((written / "weights.json").read_text())["data"]["skipped"]
    assert skipped == {"photo that is broken or cut short": 1}


def test_imagenet_finetuning_writes_weights_that_fit_a_vit_by_name(run: Callable[..., Path]) -> None:
    folder = run("sami-ti-classify")
    vit = VisionTransformer(num_classes=1000, global_pool="avg", **WIDTH)
    vit.load_state_dict(load_file(folder / "weights.safetensors"))
    assert json.loads((folder / "weights.json").read_text())["recipe"]["label_smoothing"] == 0.1


def test_a_finished_run_is_resumed_at_its_end(run: Callable[..., Path]) -> None:
    first = load_file(run("sami-ti-classify") / "weights.safetensors")
    again = load_file(run("sami-ti-classify") / "weights.safetensors")
    assert all((again[name] == value).all() for name, value in first.items())


def test_an_encoder_of_another_width_is_refused(run: Callable[..., Path], tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file(ViTEncoder(**{**WIDTH, "embed_dim": 32}).state_dict(), other)
    with pytest.raises(BenchError, match=r"does not fit this EfficientSAM: '.*' has another shape"):
        run("efficientsam-ti", "--encoder", str(other))
    with pytest.raises(BenchError, match=r"does not fit a classifier of 24 x 1: '.*' has another shape"):
        run("sami-ti-classify", "--encoder", str(other))


def test_without_encoder_or_data_it_says_what_to_do(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingData, match="bench train mae-ti` first, or give --encoder"):
        run("sam-mae-ti")
    monkeypatch.delenv("BENCH_DATA")
    with pytest.raises(MissingData, match="give --data, or set BENCH_DATA"):
        run("efficientsam-ti")
    with pytest.raises(BenchError, match="unknown training 'efficientsam-x'"):
        run("efficientsam-x")


def test_a_smaller_batch_keeps_the_epochs_and_the_rate_of_an_image() -> None:
    sa1b, imagenet = RUNS["efficientsam-s"], RUNS["sami-s-classify"]
    half = adapted(sa1b, Options(images_per_step=64), images=SA1B_IMAGES)
    assert half.steps == pytest.approx(2 * sa1b.recipe.steps, abs=1)
    assert half.learning_rate == pytest.approx(2e-4)
    some = adapted(sa1b, Options(), images=128_000)
    assert some.steps == 5 * 1000
    short = adapted(imagenet, Options(steps=100), images=10)
    assert (short.steps, short.warmup_steps) == (100, 5)


def test_coco_finetuning_writes_weights_of_the_detector_and_says_which_photos_it_saw(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(*, classes: int, drop_path: float) -> VitDet:
        assert drop_path == DETECT_PAPER.drop_path
        return vitdet_micro(WIDTH, classes=classes, img_size=64)

    toy = replace(RUNS["vitdet-sami-ti"], build=small, recipe=replace(DETECT_PAPER, image_size=64))
    monkeypatch.setitem(RUNS, "vitdet-sami-ti", toy)
    folder = run("vitdet-sami-ti", "--data", str(lay_out(tmp_path / "coco_root")))
    record = json.loads((folder / "weights.json").read_text())
    assert record["data"] == {"images": 2, "without_objects": 2}
    assert record["recipe"]["learning_rate"] == pytest.approx(2e-4 * 2 / 64)
    vitdet_micro(WIDTH, classes=2, img_size=64).load_state_dict(read_detector(folder / "weights.safetensors", None))
    with pytest.raises(BenchError, match=r"train2017\.json is not there"):
        run("vitdet-sami-ti", "--data", str(tmp_path))
    with pytest.raises(MissingData, match=r"no weights of deit-s at .*: give --encoder$"):
        run("vitdet-deit-s")


def test_ade20k_finetuning_writes_weights_of_the_segmenter(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, recipe = partial(mask2former, replace(TOY, **WIDTH)), replace(SEMANTIC_PAPER, crop_size=64)
    monkeypatch.setitem(RUNS, "mask2former-sami-ti", replace(RUNS["mask2former-sami-ti"], build=build, recipe=recipe))
    top = write_ade20k(tmp_path / "data", scene_pairs(3), names=NAMES, split="training")
    folder = run("mask2former-sami-ti", "--data", str(top))
    state = load_file(folder / "weights.safetensors")
    toy_network(sizes=replace(TOY, **WIDTH)).load_state_dict(state)
    assert not torch.equal(state["backbone.pos_embed"], pretrained(folder)["pos_embed"]), "it was trained"
    record = json.loads((folder / "weights.json").read_text())
    assert (record["recipe"]["learning_rate"], record["recipe"]["steps"]) == (pytest.approx(2e-4 * 2 / 16), 2)
    assert len((folder / "log.jsonl").read_text().splitlines()) == 2
    with pytest.raises(MissingData, match="training is not there"):
        run("mask2former-sami-ti", "--data", str(tmp_path))
    with pytest.raises(BenchError, match="--tracker means nothing to mask2former-sami-ti: leave it out"):
        run("mask2former-sami-ti", "--data", str(top), "--tracker", "tensorboard")


def test_the_recipe_of_segmenters_is_section_4_2_s() -> None:
    recipe = SEMANTIC_PAPER
    assert (recipe.steps, recipe.images_per_step, recipe.crop_size) == (160_000, 16, 512)
    assert (recipe.learning_rate, recipe.weight_decay, recipe.schedule) == (2e-4, 0.05, "poly")
    assert recipe.backbone_multiplier == 0.1


def test_the_recipe_of_detectors_is_section_4_1_s() -> None:
    recipe = DETECT_PAPER
    assert (recipe.learning_rate, recipe.weight_decay, recipe.images_per_step) == (2e-4, 0.1, 64)
    assert (recipe.betas, recipe.schedule, recipe.image_size) == ((0.9, 0.999), "cosine", 1024)
    assert recipe.steps == 10 * recipe.warmup_steps == 100 * (118_287 // 64)
    assert recipe.jitter == (0.1, 2.0)


def test_layers_of_tiny_classifiers_learn_alike_and_of_larger_ones_do_not() -> None:
    rates = {n: run.recipe.layer_decay for n, run in RUNS.items() if n.endswith("classify") and run.scale is PAPER}
    assert rates["sami-ti-classify"] is None
    assert rates["sami-s-classify"] == rates["mae-b-classify"] == 0.75
