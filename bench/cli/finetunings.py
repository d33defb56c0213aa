"""What each finetuning of section 4.1 needs: the network around a pretrained encoder, its losses, its data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from accelerate import PartialState
from torch import Tensor, nn

from bench import paths
from bench.cli.training_options import TrainingOptions, adapted
from bench.data.classification import AugmentedBatches
from bench.data.detection import CocoPhotos, DetectionBatches
from bench.data.imagenet import open_imagenet
from bench.data.instances import open_coco_train
from bench.data.sa1b import EXTENSIONS, Sa1bBatches, nothing_there
from bench.data.tars import open_shards
from models import detectors
from models.classifier import Classifier
from models.efficientsam.build import efficientsam_s, efficientsam_ti
from models.errors import BenchError, MissingData
from models.sami.build import SIZES
from models.sami.encoder import ViTEncoder, into_efficientsam
from models.training.augment import augmentation
from models.training.classify import classify_stage
from models.training.detect import detect_stage
from models.training.loop import Batches, Stage
from models.training.promptable import PromptableTrainer, promptable_stage
from models.training.recipes import (
    CLASSIFY_PAPER,
    COCO_IMAGES,
    DETECT_PAPER,
    IMAGENET_IMAGES,
    PROMPTABLE_PAPER,
    SA1B_IMAGES,
    Recipe,
    images_per_batch,
)
from models.vitdet.backbone import start_from_encoder
from models.vitdet.build import vitdet

CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """Settings of a finetuning; the defaults are the paper's."""

    encoder: Path | None = None
    """Encoder as `bench pretrain` leaves it, or a public file of MAE, DeiT, DINO or iBOT;
    <out>/<pretraining>/encoder.safetensors if not given."""
    data: Path | None = None
    """Folder with sa1b/ (tars as published, or unpacked), imagenet/train or coco/; $BENCH_DATA if not given."""


class Parts(NamedTuple):
    """What the training loop is given."""

    network: nn.Module
    """What is kept."""
    trainer: nn.Module
    """What is trained: the network, or a wrapper of it."""
    stage: Stage
    batches: Batches
    recipe: Recipe
    facts: Callable[[], Mapping[str, object]]
    """For the record, when the training is over."""


class Finetuning(NamedTuple):
    """One model that can be finetuned."""

    encoder: str
    """The pretraining that it starts from."""
    recipe: Any
    """Of the paper."""
    parts: Callable[[str, Options, Mapping[str, Tensor], PartialState], Parts]

    @property
    def size(self) -> str:
        """Of the encoder: ti, s or b."""
        return self.encoder.rpartition("-")[2]


def _promptable(model: str, options: Options, state: Mapping[str, Tensor], processes: PartialState) -> Parts:
    network: Any = NETWORKS[FINETUNINGS[model].size]()
    into_efficientsam(network.image_encoder, state)
    folder = _root(options) / "sa1b"
    if not folder.is_dir():
        raise nothing_there([folder], Counter())
    images = sum(map(len, open_shards([folder], EXTENSIONS)))
    recipe = adapted(PROMPTABLE_PAPER, options, images=images, published=SA1B_IMAGES)
    batches = Sa1bBatches(
        [folder],
        images_per_batch=images_per_batch(recipe, processes.num_processes),
        masks=recipe.masks_per_prompt * len(recipe.prompts),
        size=network.image_encoder.img_size,
        seed=recipe.seed,
        log=options.out / model / "skipped.jsonl",
    )
    return Parts(
        network,
        PromptableTrainer(network),
        promptable_stage(recipe),
        batches,
        recipe,
        lambda: {"skipped": dict(batches.skipped)},
    )


def _classify(model: str, options: Options, state: Mapping[str, Tensor], processes: PartialState) -> Parts:
    chosen = FINETUNINGS[model]
    encoder = ViTEncoder(**SIZES[chosen.size])
    try:
        encoder.load_state_dict(state)
    except RuntimeError:
        raise BenchError(
            f"the encoder is not one of {chosen.encoder}: give the one that `bench pretrain` left"
        ) from None
    photos = open_imagenet(_root(options), "train")
    recipe = adapted(chosen.recipe, options, images=len(photos), published=IMAGENET_IMAGES)
    network = Classifier(encoder, CLASSES, drop_path=recipe.drop_path)
    batches = AugmentedBatches(
        photos,
        np.asarray(photos.labels),
        augment=augmentation(recipe),
        images_per_batch=images_per_batch(recipe, processes.num_processes),
        seed=recipe.seed,
    )
    return Parts(network, network, classify_stage(recipe, CLASSES), batches, recipe, dict)


def _detect(model: str, options: Options, state: Mapping[str, Tensor], processes: PartialState) -> Parts:
    photos = CocoPhotos(open_coco_train(_root(options)))
    if processes.is_main_process:
        print(f"{len(photos):,} photos; {photos.without_objects:,} without objects are kept out", file=sys.stderr)
    recipe = adapted(DETECT_PAPER, options, images=len(photos), published=COCO_IMAGES)
    network = vitdet(FINETUNINGS[model].size, classes=len(photos.category_ids), drop_path=recipe.drop_path)
    start_from_encoder(network.backbone, state, f"'{options.encoder or FINETUNINGS[model].encoder}'")
    batches = DetectionBatches(
        photos,
        images=images_per_batch(recipe, processes.num_processes),
        side=recipe.image_size,
        scale=recipe.jitter,
        seed=recipe.seed,
    )
    used = {"used": len(photos), "without_objects": photos.without_objects}
    return Parts(network, network, detect_stage(), batches, recipe, lambda: {"photos": used})


NETWORKS: dict[str, Callable[[], nn.Module]] = {"ti": efficientsam_ti, "s": efficientsam_s}
"""Promptable networks by the size of their encoder."""
FINETUNINGS = {
    "efficientsam-ti": Finetuning("sami-ti", PROMPTABLE_PAPER, _promptable),
    "efficientsam-s": Finetuning("sami-s", PROMPTABLE_PAPER, _promptable),
    "sam-mae-ti": Finetuning("mae-ti", PROMPTABLE_PAPER, _promptable),
    **{
        f"{kind}-{size}-classify": Finetuning(
            f"{kind}-{size}",
            replace(CLASSIFY_PAPER, layer_decay=None if size == "ti" else CLASSIFY_PAPER.layer_decay),
            _classify,
        )
        for kind in ("sami", "mae")
        for size in ("ti", "s", "b")
    },
    **{
        card.name: Finetuning(card.name.removeprefix("vitdet-"), DETECT_PAPER, _detect)
        for card in detectors.CARDS
        if card.scale == "paper"
    },
}


def _root(options: Options) -> Path:
    root = options.data or paths.data_root()
    if root is None:
        raise MissingData(
            "no data to train on: give --data, or set BENCH_DATA to the folder of sa1b/, imagenet/, coco/"
        )
    return root
