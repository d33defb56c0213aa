"""What each finetuning of sections 4.1 and 4.2 needs: the network around a pretrained encoder, losses, data."""

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
from bench.cli.training_options import Run, TrainingOptions, adapted, shared_loop
from bench.data.ade20k import open_ade20k
from bench.data.imagenet import open_imagenet
from bench.data.instances import open_coco_train
from bench.data.sa1b import EXTENSIONS, Sa1bBatches, nothing_there
from bench.data.tars import open_shards
from bench.data.training.classification import AugmentedBatches
from bench.data.training.detection import CocoPhotos, DetectionBatches
from bench.data.training.semantic_crops import CropSettings, SemanticBatches
from models.checkpoints import check_numbers
from models.classifier.network import Classifier
from models.efficientsam.build import efficientsam_s, efficientsam_ti
from models.errors import BenchError, MissingData
from models.mask2former import cards as segmenters
from models.mask2former.backbone import load_pretrained
from models.mask2former.build import TI, B, S, mask2former
from models.mask2former.resume import semantic_steps_done
from models.mask2former.train import train_semantic
from models.sami.build import SIZES
from models.sami.encoder import ViTEncoder, into_efficientsam
from models.training.augment import augmentation
from models.training.classify import classify_stage
from models.training.detect import detect_stage
from models.training.loop import steps_done
from models.training.promptable import PromptableTrainer, promptable_stage
from models.training.recipes import (
    CLASSIFY_PAPER,
    COCO_IMAGES,
    DETECT_PAPER,
    IMAGENET_IMAGES,
    PROMPTABLE_PAPER,
    SA1B_IMAGES,
    SEMANTIC_PAPER,
    Recipe,
    SemanticRecipe,
    images_per_batch,
)
from models.vitdet import cards as detectors
from models.vitdet.backbone import start_from_encoder
from models.vitdet.build import vitdet

CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """Settings of a finetuning; the defaults are the paper's."""

    encoder: Path | None = None
    """Encoder as `bench pretrain` leaves it, or a public file of MAE, DeiT, DINO, iBOT or BEiT;
    <out>/<pretraining>/encoder.safetensors if not given."""
    data: Path | None = None
    """Folder with sa1b/ (tars as published, or unpacked), imagenet/train, coco/ or ade20k/; $BENCH_DATA if not
    given."""


class Parts(NamedTuple):
    """A training that is ready to run."""

    network: nn.Module
    """What is kept."""
    run: Run
    recipe: Recipe
    facts: Callable[[], Mapping[str, object]] = dict
    """For the record, when the training is over."""
    done: Callable[[Path], int] = steps_done
    """Tells how many steps a folder's newest checkpoint has done."""


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
    stage = promptable_stage(recipe)
    run = shared_loop(PromptableTrainer(network), stage, batches, recipe, options, processes.num_processes)
    return Parts(network, run, recipe, lambda: {"skipped": dict(batches.skipped)})


def _classify(model: str, options: Options, state: Mapping[str, Tensor], processes: PartialState) -> Parts:
    chosen = FINETUNINGS[model]
    encoder = ViTEncoder(**SIZES[chosen.size])
    try:
        encoder.load_state_dict(state)
    except RuntimeError:
        raise BenchError(
            f"the encoder is not one of {chosen.encoder}: give the one that `bench pretrain` left"
        ) from None
    check_numbers(state, encoder.state_dict(), "the encoder")
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
    stage = classify_stage(recipe, CLASSES)
    return Parts(network, shared_loop(network, stage, batches, recipe, options, processes.num_processes), recipe)


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
        padding=recipe.padding,
        seed=recipe.seed,
    )
    used = {"used": len(photos), "without_objects": photos.without_objects}
    run = shared_loop(network, detect_stage(), batches, recipe, options, processes.num_processes)
    return Parts(network, run, recipe, lambda: {"photos": used})


def _semantic(model: str, options: Options, state: Mapping[str, Tensor], processes: PartialState) -> Parts:
    if options.tracker != "none":
        raise BenchError(f"{model} is trained by mmengine's Runner, which tells no tracker: leave out --tracker")
    photos = open_ade20k(_root(options), "training")
    of_paper = replace(options, steps=options.steps or SEMANTIC_PAPER.steps)  # iterations, whatever an epoch is
    recipe: SemanticRecipe = adapted(SEMANTIC_PAPER, of_paper, images=len(photos), published=len(photos))
    sizes = replace(SEMANTIC_SIZES[FINETUNINGS[model].size], classes=len(photos.names))
    network: Any = mask2former(sizes, crop=recipe.crop_size)
    load_pretrained(network.backbone, state, name=f"'{options.encoder or FINETUNINGS[model].encoder}'")
    batches = SemanticBatches(
        photos,
        CropSettings(size=recipe.crop_size, scales=recipe.scales, colours=recipe.colours),
        images_per_batch=images_per_batch(recipe, processes.num_processes),
        seed=recipe.seed,
    )

    def run(folder: Path, advance: Callable[[int], None]) -> None:
        train_semantic(network, batches, recipe, folder, advance=advance, workers=options.workers)

    return Parts(network, run, recipe, done=semantic_steps_done)


SEMANTIC_SIZES = {"ti": TI, "s": S, "b": B}
"""Of Mask2Former by the size of its encoder."""
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
    **{
        card.name: Finetuning(card.name.removeprefix("mask2former-"), SEMANTIC_PAPER, _semantic)
        for card in segmenters.CARDS
        if card.scale == "paper"
    },
}


def _root(options: Options) -> Path:
    root = options.data or paths.data_root()
    if root is None:
        raise MissingData(
            "no data to train on: give --data, or set BENCH_DATA to the folder of sa1b/, imagenet/, coco/, ade20k/"
        )
    return root
