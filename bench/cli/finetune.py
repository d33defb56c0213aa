"""`bench finetune MODEL`: the paper's second stage (section 4.1), on SA-1B or ImageNet, from a pretrained encoder."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import tyro
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench import paths
from bench.cli.pretrain import ENCODER
from bench.cli.training_options import TrainingOptions, adapted, check, train_to_the_end
from bench.data.classification import AugmentedBatches
from bench.data.imagenet import open_imagenet
from bench.data.sa1b import EXTENSIONS, Sa1bBatches, nothing_there
from bench.data.tars import open_shards
from models.checkpoints import sha256_of
from models.classifier import Classifier
from models.efficientsam.build import efficientsam_s, efficientsam_ti
from models.errors import BenchError, MissingData, unknown_name
from models.sami.build import SIZES
from models.sami.encoder import ViTEncoder, into_efficientsam
from models.training.augment import augmentation
from models.training.classify import classify_stage
from models.training.loop import Batches, Stage
from models.training.promptable import PromptableTrainer, promptable_stage
from models.training.recipes import (
    CLASSIFY_PAPER,
    IMAGENET_IMAGES,
    PROMPTABLE_PAPER,
    SA1B_IMAGES,
    ClassifyRecipe,
    PromptableRecipe,
    Recipe,
    images_per_batch,
)

CLASSES = 1000


class Finetuning(NamedTuple):
    """One model that can be finetuned."""

    encoder: str
    """The pretraining that it starts from."""
    recipe: PromptableRecipe | ClassifyRecipe
    """Of the paper."""


FINETUNINGS = {
    "efficientsam-ti": Finetuning("sami-ti", PROMPTABLE_PAPER),
    "efficientsam-s": Finetuning("sami-s", PROMPTABLE_PAPER),
    "sam-mae-ti": Finetuning("mae-ti", PROMPTABLE_PAPER),
    **{
        f"{kind}-{size}-classify": Finetuning(
            f"{kind}-{size}", replace(CLASSIFY_PAPER, layer_decay=None if size == "ti" else CLASSIFY_PAPER.layer_decay)
        )
        for kind in ("sami", "mae")
        for size in ("ti", "s", "b")
    },
}


@dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """Settings of a finetuning; the defaults are the paper's."""

    encoder: Path | None = None
    """Encoder as `bench pretrain` leaves it; <out>/<pretraining>/encoder.safetensors if not given."""
    data: Path | None = None
    """Folder with sa1b/ (tars as published, or unpacked) or imagenet/train; $BENCH_DATA if not given."""


PAPER = Options()


def finetune(model: tyro.conf.Positional[str], /, options: Annotated[Options, tyro.conf.arg(name="")] = PAPER) -> None:
    """Finetune a pretrained ViT as section 4.1 says: to segment what is asked for, or to name what a photo shows.

    Goes on from its newest checkpoint. `torchrun --nproc-per-node 8 -m bench finetune efficientsam-s` shares each step
    among eight GPUs. At the end writes <out>/<model>/weights.safetensors, which `bench run table4 --checkpoint
    efficientsam-s=FILE` or `bench run table1 --checkpoint sami-s=FILE` measures, and finetune.json.

    Args:
        model: efficientsam-ti, efficientsam-s or sam-mae-ti (on SA-1B); sami-ti-classify, mae-b-classify, ... (on
            ImageNet).
        options: how.
    """
    if model not in FINETUNINGS:
        raise unknown_name("finetuning", model, FINETUNINGS)
    check(options)
    chosen, processes = FINETUNINGS[model], PartialState(cpu=not torch.cuda.is_available())
    encoder = options.encoder or options.out / chosen.encoder / ENCODER
    if not encoder.is_file():
        raise MissingData(
            f"there is no encoder {encoder}: run `bench pretrain {chosen.encoder}` first, or give --encoder"
        )
    torch.manual_seed(options.seed)
    parts = _promptable if isinstance(chosen.recipe, PromptableRecipe) else _classify
    network, trainer, stage, batches, recipe = parts(model, options, load_file(encoder), processes)
    record = train_to_the_end(model, trainer, stage, batches, recipe, options, processes)
    if record is None:
        return
    facts = {"encoder_sha256": sha256_of(encoder), "skipped": dict(getattr(batches, "skipped", {}))}
    weights = options.out / model / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
    (weights.parent / "finetune.json").write_text(json.dumps({**record, **facts}, indent=1) + "\n")
    print(f"wrote {weights}", file=sys.stderr)


Parts = tuple[nn.Module, nn.Module, Stage, Batches, Recipe]
"""The network that is kept, the module that is trained, its losses, its data and its recipe."""


def _promptable(model: str, options: Options, state: dict[str, Tensor], processes: PartialState) -> Parts:
    chosen = FINETUNINGS[model]
    network: Any = NETWORKS[_size(chosen)]()
    into_efficientsam(network.image_encoder, state)
    folder = _root(options) / "sa1b"
    if not folder.is_dir():
        raise nothing_there([folder], Counter())
    images = sum(map(len, open_shards([folder], EXTENSIONS)))
    recipe: Any = adapted(chosen.recipe, options, images=images, published=SA1B_IMAGES)
    batches = Sa1bBatches(
        [folder],
        images_per_batch=images_per_batch(recipe, processes.num_processes),
        masks=recipe.masks_per_prompt * len(recipe.prompts),
        size=network.image_encoder.img_size,
        seed=recipe.seed,
        log=options.out / model / "skipped.jsonl",
    )
    return network, PromptableTrainer(network), promptable_stage(recipe), batches, recipe


def _classify(model: str, options: Options, state: dict[str, Tensor], processes: PartialState) -> Parts:
    chosen = FINETUNINGS[model]
    encoder = ViTEncoder(**SIZES[_size(chosen)])
    try:
        encoder.load_state_dict(state)
    except RuntimeError:
        raise BenchError(
            f"the encoder is not one of {chosen.encoder}: give the one that `bench pretrain` left"
        ) from None
    photos = open_imagenet(_root(options), "train")
    recipe: Any = adapted(chosen.recipe, options, images=len(photos), published=IMAGENET_IMAGES)
    network = Classifier(encoder, CLASSES, drop_path=recipe.drop_path)
    batches = AugmentedBatches(
        photos,
        np.asarray(photos.labels),
        augment=augmentation(recipe),
        images_per_batch=images_per_batch(recipe, processes.num_processes),
        seed=recipe.seed,
    )
    return network, network, classify_stage(recipe, CLASSES), batches, recipe


NETWORKS: dict[str, Callable[[], nn.Module]] = {"ti": efficientsam_ti, "s": efficientsam_s}
"""Promptable networks by the size of their encoder."""


def _size(chosen: Finetuning) -> str:
    return chosen.encoder.rpartition("-")[2]


def _root(options: Options) -> Path:
    root = options.data or paths.data_root()
    if root is None:
        raise MissingData("no data to train on: give --data, or set BENCH_DATA to the folder of sa1b/ and imagenet/")
    return root
