"""`bench pretrain MODEL`: SAMI or MAE pretraining (section 3.2) of a paper-size ViT on any folder of photos."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import tyro
from accelerate import PartialState
from safetensors.torch import save_file
from torch import Tensor, nn

from bench import paths
from bench.cli.pretrain_cost import dry_run
from bench.cli.pretrain_options import SIZE, Options, adapt, chosen_pretraining
from bench.cli.training_options import Precision, shared_loop, train_to_the_end
from bench.data.photos import PhotoFolder
from bench.data.training.crops import CropBatches
from bench.data.training.feature_cache import FeatureCache, write_features
from models import zoo
from models.errors import BenchError
from models.sam.image_encoder import ImageEncoder
from models.sami.build import masked_autoencoder
from models.sami.targets import CLIP, Target, clip_target, pixel_target, sam_target
from models.training.masked import masked_stage
from models.training.prefetch import read_ahead
from models.training.promptable import normalise
from models.training.recipes import MaskedRecipe, images_per_batch

ENCODER = "encoder.safetensors"
TEACHER_BATCH = 64
"""Crops in one call of a teacher whose features are cached; our choice."""


class Source(NamedTuple):
    """Where what is reconstructed comes from."""

    target: Target | None
    """Makes it in every step; None if it is read."""
    features: FeatureCache | None
    """Holds it; None if it is made."""
    width: int
    """Numbers in a token's target."""
    identity: str
    """The teacher's weights and how they are used."""


PAPER = Options()


def pretrain(model: tyro.conf.Positional[str], /, options: Annotated[Options, tyro.conf.arg(name="")] = PAPER) -> None:
    """Pretrain a ViT as section 3.2 says, with the paper's recipe.

    Goes on from its newest checkpoint. `torchrun --nproc-per-node 8 -m bench pretrain sami-s` shares each step among
    eight GPUs. At the end writes <out>/<model>/encoder.safetensors, under the names of MAE's and timm's ViTs, and
    pretrain.json (command, recipe, data, teacher, time).

    Args:
        model: sami-ti, sami-s, sami-b, mae-ti, mae-s or mae-b.
        options: how.
    """
    chosen = chosen_pretraining(model, options)
    if options.dry_run:
        dry_run(model, chosen, options)
        return
    processes = PartialState(cpu=not torch.cuda.is_available())
    photos = PhotoFolder(options.data or _imagenet())
    recipe = adapt(chosen.recipe, chosen.teacher, options, images=len(photos))
    images = images_per_batch(recipe, processes.num_processes)
    source = _source(chosen.teacher, photos, recipe, options, processes)
    torch.manual_seed(recipe.seed)
    network = masked_autoencoder(chosen.size, recipe, source.width)
    batches = CropBatches(
        photos,
        size=SIZE,
        images_per_batch=images,
        seed=recipe.seed,
        scale=recipe.crop_scale,
        views=recipe.views,
        features=source.features,
    )
    stage = masked_stage(recipe, source.target)
    run = shared_loop(network, stage, batches, recipe, options, processes.num_processes)
    record = train_to_the_end(model, run, recipe, options, processes)
    if record is not None:
        facts = {
            "images": len(photos),
            "teacher": chosen.teacher,
            "teacher_identity": source.identity,
            "features_cached": source.features is not None,
        }
        _export(network.encoder, options.out / model, {**record, **facts})


def _export(encoder: nn.Module, folder: Path, record: dict[str, object]) -> None:
    save_file({name: value.contiguous() for name, value in encoder.state_dict().items()}, folder / ENCODER)
    (folder / "pretrain.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {folder / ENCODER}", file=sys.stderr)


def _imagenet() -> Path:
    root = paths.data_root()
    if root is None:
        raise BenchError("no photos to train on: give --data, or set BENCH_DATA to the folder of imagenet/train")
    return root / "imagenet" / "train"


def _source(
    teacher: str, photos: PhotoFolder, recipe: MaskedRecipe, options: Options, processes: PartialState
) -> Source:
    """Return where targets come from; features that are wanted but not there are written first."""
    identity = _identity(teacher, options, recipe.precision)
    folder = options.features
    if folder is None:
        with processes.local_main_process_first():  # timm downloads CLIP once
            target = _target(teacher, recipe, options, processes.device)
        return Source(target, None, target.width, identity)
    finished = FeatureCache.is_finished(folder)
    processes.wait_for_everyone()  # nobody writes before all have looked
    if not finished:
        with processes.local_main_process_first():
            target = _target(teacher, recipe, options, processes.device)
        _write(photos, target, folder, identity, recipe, options.workers, processes)
        processes.wait_for_everyone()
    cache = FeatureCache(folder)
    which = photos.names_sha256()
    cache.check(recipe.seed, recipe.crop_scale, SIZE, identity, views=recipe.views, images=len(photos), photos=which)
    return Source(None, cache, cache.about.width, identity)


def _identity(teacher: str, options: Options, precision: Precision) -> str:
    """Return what features depend on besides the crops, without loading the teacher."""
    if teacher in ("none", "clip"):
        return f"{CLIP}, {precision}" if teacher == "clip" else "none"
    sha256 = zoo.card(teacher).sha256 or teacher
    return f"{sha256}, input {options.teacher_input}, {options.teacher_layer}, {precision}"


def _target(teacher: str, recipe: MaskedRecipe, options: Options, device: torch.device) -> Target:
    """Load a teacher.

    Raises:
        BenchError: if it is no SAM, or its weights are not there.
    """
    if teacher == "none":
        return pixel_target(norm=recipe.norm_pixels)
    if teacher == "clip":
        return clip_target(device=device)
    network = getattr(zoo.load(teacher, device=str(device)), "network", None)
    encoder = getattr(network, "image_encoder", None)
    if not isinstance(encoder, ImageEncoder):
        raise BenchError(
            f"'{teacher}' has no image encoder of SAM's kind: take sam-vit-h, sam-vit-l, sam-vit-b or clip"
        )
    return sam_target(encoder, size=SIZE, input=options.teacher_input, layer=options.teacher_layer)


def _write(
    photos: PhotoFolder,
    target: Target,
    folder: Path,
    identity: str,
    recipe: MaskedRecipe,
    workers: int,
    processes: PartialState,
) -> None:
    """Write this process's share of the features."""
    assert recipe.views is not None, "features are of a limited number of crops"
    write_features(
        photos,
        _asked(target, processes.device, recipe.precision),
        folder,
        views=recipe.views,
        seed=recipe.seed,
        scale=recipe.crop_scale,
        size=SIZE,
        batch=TEACHER_BATCH,
        teacher_sha256=identity,
        photos=photos.names_sha256(),
        rank=processes.process_index,
        world=processes.num_processes,
        ordered_map=partial(read_ahead, workers=workers),
    )


def _asked(target: Target, device: torch.device, precision: Precision) -> Callable[[np.ndarray], Tensor]:
    """Return a target as a teacher of crops uint8 [B, 3, S, S]."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def teacher(crops: np.ndarray) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
            return target(normalise(crops, device))

    return teacher
