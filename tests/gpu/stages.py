"""Every training stage at its smallest: network, losses, recipe and a batch, the same on every device."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest
import timm
from torch import nn

from models.classifier.network import Classifier
from models.efficientsam import efficientsam
from models.fastsam.yolo import fastsam_micro
from models.micro import DECODER
from models.mobilesam.build import mobilesam
from models.sam.build import sam
from models.sami.encoder import ViTEncoder
from models.sami.network import MaskedAutoencoder
from models.sami.targets import Target, pixel_target, sam_target, token_target
from models.training import recipes
from models.training.classify import classify_stage
from models.training.detect import detect_stage
from models.training.distill import EncoderTrainer, distill_stage
from models.training.fastsam import fastsam_stage
from models.training.loop import Stage
from models.training.masked import masked_stage
from models.training.promptable import PromptableTrainer, promptable_stage
from models.training.salient import salient_stage
from models.u2net.network import u2netp
from models.vitdet.backbone import Backbone
from models.vitdet.build import MICRO
from models.vitdet.network import VitDet

SIDE = 64
SMALL = {"img_size": SIDE, **DECODER}
VIT = {"img_size": SIDE, "embed_dim": 24, "depth": 1, "num_heads": 2}
_RNG = np.random.default_rng(0)
IMAGES = _RNG.integers(0, 256, (2, 3, SIDE, SIDE)).astype(np.uint8)
MASKS = _RNG.random((2, 6, SIDE, SIDE)) < 0.3
OBJECTS = {
    "boxes": np.array([[4, 4, 40, 40], [8, 30, 60, 60], [0, 0, 9, 9]], np.float32),
    "labels": np.array([1, 2, 1]),
    "masks": _RNG.random((3, SIDE, SIDE)) < 0.5,
}
FEATURES = _RNG.standard_normal((2, (SIDE // 16) ** 2, 8)).astype(np.float16)
ERASED = _RNG.standard_normal(IMAGES.shape).astype(np.float32)
FOUND = {
    "image": np.array([0, 0, 1]),
    "boxes": _RNG.uniform(0.3, 0.6, (3, 4)).astype(np.float32),
    "masks": (_RNG.random((3, SIDE // 4, SIDE // 4)) < 0.5).astype(np.float32),
}


class Training(NamedTuple):
    """What `loop.train` is given."""

    network: nn.Module
    stage: Stage
    recipe: recipes.Recipe
    batch: dict[str, Any]


def small_sam(side: int = SIDE) -> Any:
    settings = {**SMALL, "img_size": side}
    return sam(embed_dim=24, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=3, **settings)


def small_efficientsam() -> Any:
    return efficientsam(embed_dim=24, depth=1, num_heads=2, **SMALL)


def small_mobilesam() -> Any:
    return mobilesam(depths=(1, 1, 1, 1), embed_dims=(8, 16, 24, 32), num_heads=(1, 1, 1, 1), **SMALL)


def small_vitdet() -> VitDet:
    return VitDet(Backbone(window_size=3, drop_path=0.5, **VIT), classes=2, **MICRO)


def small_clip() -> Any:
    return timm.create_model("vit_base_patch16_clip_224.openai", img_size=SIDE, embed_dim=24, depth=1, num_heads=2)


TARGETS: dict[str, Callable[[str], Target]] = {
    "sam": lambda device: sam_target(small_sam().image_encoder.to(device), size=SIDE),
    "sam, resized": lambda device: sam_target(small_sam(2 * SIDE).image_encoder.to(device), size=SIDE),
    "sam, pooled": lambda device: sam_target(
        small_sam(2 * SIDE).image_encoder.to(device), size=SIDE, input="1024-pooled"
    ),
    "sam, before the neck": lambda device: sam_target(
        small_sam().image_encoder.to(device), size=SIDE, layer="pre-neck"
    ),
    "clip": lambda device: token_target(small_clip().to(device), "clip"),
    "pixels": lambda device: pixel_target(norm=False),
    "normalised pixels": lambda device: pixel_target(norm=True),
}


def promptable(device: str, build: Callable[[], Any], **changes: Any) -> Training:
    recipe = replace(recipes.PROMPTABLE_MICRO, masks_per_prompt=2, **changes)
    batch = {"images": IMAGES, "masks": MASKS}
    return Training(PromptableTrainer(build()), promptable_stage(recipe), recipe, batch)


def masked(device: str, name: str, **changes: Any) -> Training:
    recipe = replace(recipes.SAMI_MICRO, **changes)
    batch: dict[str, Any] = {"images": IMAGES}
    target = TARGETS[name](device) if name != "cached" else None
    if target is None:
        batch["features"] = FEATURES
    width = 8 if target is None else target.width
    decoder = {"decoder": recipe.decoder, "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}
    network = MaskedAutoencoder(ViTEncoder(**VIT), target_dim=width, **decoder)
    return Training(network, masked_stage(recipe, target), recipe, batch)


def classify(device: str, images: np.ndarray = IMAGES, **changes: Any) -> Training:
    recipe = replace(recipes.CLASSIFY_MICRO, **changes)
    network = Classifier(ViTEncoder(**VIT), 5, drop_path=recipe.drop_path)
    return Training(network, classify_stage(recipe, 5), recipe, {"images": images, "labels": np.array([0, 3])})


def detect(device: str, **changes: Any) -> Training:
    batch = {"images": IMAGES, "targets": [OBJECTS, OBJECTS]}
    return Training(small_vitdet(), detect_stage(), replace(recipes.DETECT_MICRO, **changes), batch)


def distill(device: str, **changes: Any) -> Training:
    student, teacher = EncoderTrainer(small_mobilesam().image_encoder), small_sam()  # as loaded: on the CPU
    recipe = replace(recipes.DISTILL_MICRO, **changes)
    return Training(student, distill_stage(teacher), recipe, {"images": IMAGES})


def need_ultralytics() -> None:
    """Skip a test if the package is not installed, without importing it: it replaces functions of other packages."""
    if find_spec("ultralytics") is None:
        pytest.skip("the extra `fastsam` is not installed")


def fastsam(device: str, **changes: Any) -> Training:
    need_ultralytics()
    network, recipe = fastsam_micro(), replace(recipes.FASTSAM_MICRO, **changes)
    return Training(network, fastsam_stage(network, recipe), recipe, {"images": IMAGES, **FOUND})


def salient(device: str, **changes: Any) -> Training:
    recipe = replace(recipes.SALIENT_MICRO, **changes)
    return Training(u2netp(middle=2, output=4), salient_stage(recipe), recipe, {"images": IMAGES, "masks": MASKS[:, 0]})


ADAMW_ALONE = {"muon_learning_rate": None}
LAYER_DECAY = {"layer_decay": 0.7, **ADAMW_ALONE}
STAGES: dict[str, Callable[[str], Training]] = {
    "promptable": lambda device: promptable(device, small_efficientsam),
    "promptable, SAM": lambda device: promptable(device, small_sam, **ADAMW_ALONE),
    "promptable, MobileSAM, one mask": lambda device: promptable(
        device, small_mobilesam, single_mask_share=1.0, **ADAMW_ALONE
    ),
    "promptable, bf16": lambda device: promptable(device, small_efficientsam, precision="bf16", **ADAMW_ALONE),
    "sami": lambda device: masked(device, "sam"),
    "sami, two micro-batches a step": lambda device: masked(device, "sam", accumulate=2),
    "sami, bf16": lambda device: masked(device, "sam", precision="bf16"),
    "sami, cosine": lambda device: masked(device, "sam", loss="cosine"),
    "sami, mask 50": lambda device: masked(device, "sam", mask_ratio=0.5),
    "sami, all tokens": lambda device: masked(device, "sam", decoder="all"),
    "sami, teacher of another size": lambda device: masked(device, "sam, resized"),
    "sami, teacher's features pooled": lambda device: masked(device, "sam, pooled"),
    "sami, before the neck": lambda device: masked(device, "sam, before the neck", loss_tokens="masked"),
    "sami, cached features": lambda device: masked(device, "cached"),
    "sami, clip": lambda device: masked(device, "clip"),
    "mae": lambda device: masked(device, "normalised pixels", decoder="all", loss_tokens="masked"),
    "classify": classify,
    "classify, mixed": lambda device: classify(device, mixup=0.8, cutmix=1.0, drop_path=0.5, precision="bf16"),
    "classify, layer decay": lambda device: classify(device, **LAYER_DECAY),
    "classify, erased": lambda device: classify(device, ERASED),
    "detect": detect,
    "detect, as published": lambda device: detect(
        device, decayed="all but norms and positions", precision="bf16", clip_norm=None, **LAYER_DECAY
    ),
    "distill": distill,
    "distill, bf16": lambda device: distill(device, precision="bf16", **ADAMW_ALONE),
    "fastsam": fastsam,
    "salient": salient,
    "salient, bf16": lambda device: salient(device, precision="bf16"),
}
