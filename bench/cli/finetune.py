"""`bench finetune MODEL`: the paper's second stage (section 4.1), on SA-1B or ImageNet, from a pretrained encoder."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
import tyro
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import nn

from bench import paths
from bench.cli.pretrain import ENCODER
from bench.cli.pretrain_options import Precision, check_tracker
from bench.data.classification import AugmentedBatches
from bench.data.imagenet import open_imagenet
from bench.data.sa1b import Sa1bBatches
from bench.progress import progress
from bench.provenance import provenance
from models.checkpoints import sha256_of
from models.classifier import Classifier
from models.efficientsam.build import efficientsam_s, efficientsam_ti
from models.errors import BenchError, MissingData, unknown_name
from models.sami.build import SIZES
from models.sami.encoder import ViTEncoder, into_efficientsam
from models.training.augment import augmentation
from models.training.classify import classify_stage
from models.training.loop import Batches, Stage, seconds_trained, steps_done, train
from models.training.prefetch import Prefetched
from models.training.promptable import PromptableTrainer, promptable_stage
from models.training.recipes import (
    CLASSIFY_PAPER,
    PROMPTABLE_PAPER,
    ClassifyRecipe,
    PromptableRecipe,
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


@dataclass(frozen=True)
class Options:
    """Settings of a finetuning; the defaults are the paper's."""

    encoder: Path | None = None
    """Encoder as `bench pretrain` leaves it; <out>/<pretraining>/encoder.safetensors if not given."""
    data: Path | None = None
    """Folder with sa1b/ (tars as published, or unpacked) or imagenet/train; $BENCH_DATA if not given."""
    steps: int | None = None
    """Instead of 5 epochs of SA-1B or 100 of ImageNet."""
    images_per_step: int | None = None
    """Instead of 128 or 1024; the learning rate follows in proportion."""
    accumulate: int = 1
    """Parts in which each process does its share of a step, to save memory."""
    precision: Precision | None = None
    """Instead of the recipe's bf16."""
    seed: int = 0
    """Of new layers, order, augmentation, masks and prompts."""
    tracker: Literal["tensorboard", "wandb", "none"] = "none"
    """Where losses are shown while it trains; they are in log.jsonl at any rate."""
    workers: int = 8
    """Processes that read photos, for each training process."""
    out: Path = Path("training")
    """Folder of checkpoints, logs and the finished weights."""


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
    check_tracker(options.tracker)
    chosen, processes = FINETUNINGS[model], PartialState(cpu=not torch.cuda.is_available())
    encoder = options.encoder or options.out / chosen.encoder / ENCODER
    if not encoder.is_file():
        raise MissingData(
            f"there is no encoder {encoder}: run `bench pretrain {chosen.encoder}` first, or give --encoder"
        )
    recipe = adapt(chosen.recipe, options)
    images = images_per_batch(recipe, processes.num_processes)
    torch.manual_seed(recipe.seed)
    build = _promptable if isinstance(recipe, PromptableRecipe) else _classify
    network, trainer, stage, batches = build(chosen, recipe, load_file(encoder), _root(options), images)
    folder, made_with = options.out / model, provenance()
    stop = recipe.steps * recipe.accumulate * processes.num_processes
    ahead = Prefetched(batches, workers=options.workers, stride=processes.num_processes, stop=stop)
    trackers = () if options.tracker == "none" else (options.tracker,)
    run = partial(train, trainer, stage, ahead, recipe, folder, trackers=trackers)
    if not processes.is_main_process:
        run()
        return
    with progress(model, total=recipe.steps, unit="steps", done=steps_done(folder)) as advance:
        run(advance=advance)
    record = {
        "model": model,
        "command": f"python -m bench {shlex.join(sys.argv[1:])}",
        "recipe": asdict(recipe),
        "encoder_sha256": sha256_of(encoder),
        "processes": processes.num_processes,
        "seconds": seconds_trained(folder),
        "skipped": dict(getattr(batches, "skipped", {})),
        "made_with": {key: made_with[key] for key in ("git", "versions", "hardware", "threads")},
    }
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items()}, folder / "weights.safetensors"
    )
    (folder / "finetune.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {folder / 'weights.safetensors'}", file=sys.stderr)


def adapt(recipe: PromptableRecipe | ClassifyRecipe, options: Options) -> PromptableRecipe | ClassifyRecipe:
    """Return the paper's recipe for the options given: as many epochs, and the same learning rate for an image."""
    batch = options.images_per_step or recipe.images_per_step
    steps = options.steps or recipe.steps * recipe.images_per_step // batch
    return replace(
        recipe,
        steps=steps,
        images_per_step=batch,
        warmup_steps=recipe.warmup_steps * steps // recipe.steps,
        learning_rate=recipe.learning_rate * batch / recipe.images_per_step,
        accumulate=options.accumulate,
        precision=options.precision or recipe.precision,
        seed=options.seed,
    )


Parts = tuple[nn.Module, nn.Module, Stage, Batches]
"""The network that is kept, the module that is trained, its losses and its data."""


def _promptable(chosen: Finetuning, recipe: Any, state: dict[str, Any], root: Path, images: int) -> Parts:
    network = NETWORKS[chosen.encoder.split("-")[1]]()
    into_efficientsam(network.image_encoder, state)
    folder = root / "sa1b"
    batches = Sa1bBatches(
        sorted(folder.glob("*.tar")) or [folder],
        images_per_batch=images,
        masks=recipe.masks_per_prompt * len(recipe.prompts),
        size=network.image_encoder.img_size,
        seed=recipe.seed,
    )
    return network, PromptableTrainer(network), promptable_stage(recipe), batches


def _classify(chosen: Finetuning, recipe: Any, state: dict[str, Any], root: Path, images: int) -> Parts:
    encoder = ViTEncoder(**SIZES[chosen.encoder.split("-")[1]])
    try:
        encoder.load_state_dict(state)
    except RuntimeError:
        raise BenchError(
            f"the encoder is not one of {chosen.encoder}: give the one that `bench pretrain` left"
        ) from None
    network = Classifier(encoder, CLASSES, drop_path=recipe.drop_path)
    photos = open_imagenet(root, "train")
    batches = AugmentedBatches(
        photos,
        np.asarray(photos.labels),
        augment=augmentation(recipe),
        images_per_batch=images,
        seed=recipe.seed,
    )
    return network, network, classify_stage(recipe, CLASSES), batches


NETWORKS: dict[str, Callable[[], Any]] = {"ti": efficientsam_ti, "s": efficientsam_s}
"""Promptable networks by the size of their encoder."""


def _root(options: Options) -> Path:
    root = options.data or paths.data_root()
    if root is None:
        raise MissingData("no data to train on: give --data, or set BENCH_DATA to the folder of sa1b/ and imagenet/")
    return root
