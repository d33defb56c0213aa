"""Every training stage on a GPU of fake tensors: losses, gradients and the optimiser's step stay there.

Not covered: what a checkpoint of a GPU's run holds, mmengine's Runner around Mask2Former, and many GPUs.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
import torch
from accelerate.state import AcceleratorState

from models import yolo
from models.classifier import Classifier
from models.efficientsam import efficientsam
from models.micro import DECODER
from models.mobilesam.build import mobilesam
from models.sam.build import sam
from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder
from models.sami.targets import pixel_target, sam_target, token_target
from models.training import loop, recipes
from models.training.classify import classify_stage
from models.training.detect import detect_stage
from models.training.distill import EncoderTrainer, distill_stage
from models.training.everything import everything_stage
from models.training.masked import masked_stage
from models.training.promptable import PromptableTrainer, promptable_stage
from models.vitdet.backbone import Backbone
from models.vitdet.build import MICRO
from models.vitdet.network import VitDet
from tests.fake_gpu import fake_gpu, on_gpu

SIDE = 64
SMALL = {"img_size": SIDE, **DECODER}
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 3, SIDE, SIDE)).astype(np.uint8)
MASKS = np.ones((2, 6, SIDE, SIDE), bool)
OBJECTS = {
    "boxes": np.array([[4, 4, 40, 40], [8, 30, 60, 60], [0, 0, 9, 9]], np.float32),
    "labels": np.array([1, 2, 1]),
    "masks": np.ones((3, SIDE, SIDE), bool),
}
FOUND = {
    "image": np.array([0, 0, 1]),
    "boxes": np.full((3, 4), 0.4, np.float32),
    "masks": np.ones((3, SIDE // 4, SIDE // 4), np.float32),
}
ViT = {"img_size": SIDE, "embed_dim": 24, "depth": 1, "num_heads": 2}


def small_sam() -> Any:
    return sam(embed_dim=24, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=3, **SMALL)


def small_efficientsam() -> Any:
    return efficientsam(embed_dim=24, depth=1, num_heads=2, **SMALL)


def small_mobilesam() -> Any:
    return mobilesam(depths=(1, 1, 1, 1), embed_dims=(8, 16, 24, 32), num_heads=(1, 1, 1, 1), **SMALL)


def small_vitdet() -> VitDet:
    return VitDet(Backbone(window_size=3, drop_path=0.5, **ViT), classes=2, **MICRO)


def autoencoder(width: int, decoder: Any) -> MaskedAutoencoder:
    return MaskedAutoencoder(
        ViTEncoder(**ViT), target_dim=width, decoder=decoder, decoder_dim=16, decoder_depth=1, decoder_heads=2
    )


def clip() -> Any:
    return timm.create_model("vit_base_patch16_clip_224.openai", img_size=SIDE, embed_dim=24, depth=1, num_heads=2)


def promptable(build: Callable[[], Any], **changes: Any) -> Any:
    recipe = replace(recipes.PROMPTABLE_MICRO, masks_per_prompt=2, **changes)
    return PromptableTrainer(build()), promptable_stage(recipe), recipe, {"images": IMAGES, "masks": MASKS}


def masked(target: str, decoder: str, **changes: Any) -> Any:
    recipe = replace(recipes.SAMI_MICRO, decoder=decoder, **changes)
    made = {
        "sam": lambda: sam_target(small_sam().image_encoder.to("cuda"), size=SIDE),
        "sam, resized": lambda: sam_target(
            sam(
                embed_dim=24,
                depth=2,
                num_heads=2,
                global_attn_indexes=(1,),
                window_size=3,
                **DECODER | {"img_size": 128},
            ).image_encoder.to("cuda"),
            size=SIDE,
        ),
        "sam, pooled": lambda: sam_target(small_sam().image_encoder.to("cuda"), size=SIDE, input="1024-pooled"),
        "sam, before the neck": lambda: sam_target(small_sam().image_encoder.to("cuda"), size=SIDE, layer="pre-neck"),
        "clip": lambda: token_target(clip().to("cuda"), "clip"),
        "pixels": lambda: pixel_target(norm=True),
        "cached": lambda: None,
    }[target]()
    batch = {"images": IMAGES}
    if made is None:
        batch["features"] = np.ones((2, (SIDE // 16) ** 2, 8), np.float16)
    return autoencoder(8 if made is None else made.width, decoder), masked_stage(recipe, made), recipe, batch


def classify(**changes: Any) -> Any:
    recipe = replace(recipes.CLASSIFY_MICRO, **changes)
    network = Classifier(ViTEncoder(**ViT), 5, drop_path=recipe.drop_path)
    return network, classify_stage(recipe, 5), recipe, {"images": IMAGES, "labels": np.array([0, 3])}


def detect() -> Any:
    batch = {"images": IMAGES, "targets": [OBJECTS, OBJECTS]}
    return small_vitdet(), detect_stage(), recipes.DETECT_MICRO, batch


def distill() -> Any:
    student, teacher = EncoderTrainer(small_mobilesam().image_encoder), small_sam().to("cuda")
    return student, distill_stage(teacher), recipes.DISTILL_MICRO, {"images": IMAGES}


def everything() -> Any:
    pytest.importorskip("ultralytics")
    network, recipe = yolo.fastsam_micro(), recipes.EVERYTHING_MICRO
    return network, everything_stage(network, recipe), recipe, {"images": IMAGES, **FOUND}


STAGES: dict[str, Callable[[], Any]] = {
    "promptable, SAM": lambda: promptable(small_sam),
    "promptable, EfficientSAM": lambda: promptable(small_efficientsam, single_mask_share=1.0),
    "promptable, bf16": lambda: promptable(small_efficientsam, precision="bf16"),
    "promptable, MobileSAM": lambda: promptable(small_mobilesam),
    "sami": lambda: masked("sam", "masked"),
    "sami, bf16": lambda: masked("sam", "masked", precision="bf16"),
    "sami, teacher at another size": lambda: masked("sam, resized", "masked"),
    "sami, pooled": lambda: masked("sam, pooled", "masked", loss="cosine"),
    "sami, before the neck": lambda: masked("sam, before the neck", "masked", loss_tokens="masked"),
    "sami, cached": lambda: masked("cached", "masked"),
    "clip": lambda: masked("clip", "masked"),
    "mae": lambda: masked("pixels", "all", loss_tokens="masked"),
    "distill": distill,
    "classify": lambda: classify(mixup=0.0, cutmix=0.0),
    "classify, mixed": lambda: classify(mixup=0.8, cutmix=1.0, drop_path=0.1, precision="bf16"),
    "classify, layer decay": lambda: classify(layer_decay=0.75, muon_learning_rate=None),
    "detect": detect,
    "everything": everything,
}


class Always:
    """One batch at every step."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __getitem__(self, step: int) -> Any:
        return self.batch


class Watched(torch.optim.AdamW):
    """AdamW that remembers the gradients of its steps."""

    seen: list[Any] = []  # noqa: RUF012

    def step(self, closure: Any = None) -> Any:
        Watched.seen += [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        return super().step(closure)


@pytest.fixture
def _new_accelerator():
    """Accelerate remembers its device for as long as a process lives."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("_new_accelerator")
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_trains_on_the_gpu(name, tmp_path, monkeypatch) -> None:
    losses: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr(loop, "_save", lambda *a: None)  # fake tensors have nothing that a file could hold
    monkeypatch.setattr(loop, "AdamW", Watched)
    monkeypatch.setattr(Watched, "seen", [])
    with fake_gpu():
        network, stage, recipe, batch = STAGES[name]()

        def watched(*given: Any) -> Any:
            losses.append(stage(*given))
            return losses[-1]

        few = replace(recipe, steps=2, warmup_steps=0, accumulate=1)
        made = loop.train(network, watched, Always(batch), few, tmp_path)
        assert len(losses) == 2
        assert on_gpu(losses)
        assert on_gpu(Watched.seen)
        assert on_gpu([*made.parameters(), *made.buffers()])
