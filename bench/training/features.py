"""What pretraining reconstructs: pixels, or features that a teacher makes in every step or once for all steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from bench.data.training.feature_cache import FeatureCache, write_features
from bench.training.job import Job, made, prepare, trained
from bench.training.options import Options, takes
from bench.training.runs import RUNS, TrainingRun
from models import zoo
from models.checkpoints import sha256_of
from models.classifier.network import Classifier
from models.engines.float32 import exact_engine
from models.errors import BenchError, unknown_name
from models.preprocessing import normalise
from models.sam.image_encoder import ImageEncoder
from models.sami.targets import CLIP, Target, clip_target, pixel_target, sam_target, token_target
from models.training.prefetch import read_ahead
from models.training.recipes import MaskedRecipe

SIZE = 224
"""Side of a crop, px (section 4.1)."""
CROP_SEED = 0
"""Of the crops, which trainings of all seeds share so that a teacher is asked once."""


class Source(NamedTuple):
    """Where what is reconstructed comes from."""

    target: Target | None
    """Makes it in every step; None if it is read."""
    features: FeatureCache | None
    """Holds it; None if it is made."""
    width: int
    """Numbers in a token's target."""
    facts: Mapping[str, object] = {}
    """For the record, where the teacher may be anyone's."""


def source(job: Job) -> Source:
    """Return where a pretraining's targets come from; features that are wanted but not there are written first."""
    teacher, folder = job.options.teacher or job.run.teacher, features_folder(job.run, job.options)
    if teacher is None:
        pixels = pixel_target(norm=job.recipe.norm_pixels)
        return Source(pixels, None, pixels.width)
    identity = _identity(teacher, job)
    said = {"teacher_identity": identity, "features_cached": folder is not None} if "teacher" in takes(job.run) else {}
    if folder is None:
        with job.processes.local_main_process_first():  # timm downloads CLIP once
            target = _target(teacher, job)
        return Source(target, None, target.width, said)
    cache = _cached(teacher, identity, folder, job)
    return Source(None, cache, cache.about.width, said)


def features_folder(run: TrainingRun, options: Options) -> Path | None:
    """Return where a teacher's features are kept: where recipes see few crops, always; None asks it in every step."""
    return options.features or (options.out / f"features-{run.teacher}" if run.recipe.views and run.teacher else None)


def cache_features(teacher: str, options: Options) -> None:
    """Write the features that a micro teacher makes of every crop of pretraining.

    Raises:
        BenchError: if no micro pretraining has such a teacher, or its weights are not there.
    """
    students = {run.teacher: run for run in RUNS.values() if isinstance(run.recipe, MaskedRecipe) and run.recipe.views}
    if teacher not in students:
        raise unknown_name("teacher", teacher, [str(name) for name in students if name])
    source(prepare(students[teacher], options, PartialState(cpu=not torch.cuda.is_available())))


def teacher_target(teacher: str, options: Options, network_of: Callable[[str], Any]) -> Target:
    """Return the features of a teacher as a target.

    Args:
        teacher: a SAM, or CLIP's stand-in.
        options: how it sees a crop, and which of its layers is taken.
        network_of: makes its network.

    Raises:
        BenchError: if it is no SAM.
    """
    network = network_of(teacher)
    if isinstance(network, Classifier):
        network.pretrained_cfg = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}  # type: ignore[assignment]
        return token_target(network, teacher)
    encoder = getattr(network, "image_encoder", None)
    if not isinstance(encoder, ImageEncoder):
        raise BenchError(
            f"'{teacher}' has no image encoder of SAM's kind: take sam-vit-h, sam-vit-l, sam-vit-b or clip"
        )
    return sam_target(encoder, size=SIZE, input=options.teacher_input, layer=options.teacher_layer)


def _target(teacher: str, job: Job) -> Target:
    """Load a teacher."""
    device = job.processes.device
    if teacher == "clip":
        return clip_target(device=device)

    def network_of(name: str) -> Any:
        if name in RUNS:
            return trained(job.options, name).to(device)
        return getattr(zoo.load(name, device=str(device)), "network", None)

    return teacher_target(teacher, job.options, network_of)


def _identity(teacher: str, job: Job) -> str:
    """Return what features depend on besides the crops, without loading the teacher."""
    options, precision = job.options, job.recipe.precision
    if teacher == "clip":
        return f"{CLIP}, {precision}"
    sha256 = sha256_of(made(options, teacher)) if teacher in RUNS else zoo.card(teacher).sha256 or teacher
    return f"{sha256}, input {options.teacher_input}, {options.teacher_layer}, {precision}"


def _cached(teacher: str, identity: str, folder: Path, job: Job) -> FeatureCache:
    """Return a teacher's features, which all processes write first if they are not there."""
    recipe, data, processes = job.recipe, job.data, job.processes
    finished = FeatureCache.is_finished(folder)
    processes.wait_for_everyone()  # nobody writes before all have looked
    if not finished:
        with _exact():
            with processes.local_main_process_first():
                target = _target(teacher, job)
            write_features(
                data.photos,
                _asked(target, processes.device, recipe.precision),
                folder,
                views=recipe.views,
                seed=CROP_SEED,
                scale=recipe.crop_scale,
                size=SIZE,
                batch=job.run.scale.teacher_batch,
                teacher_sha256=identity,
                photos=data.identity,
                rank=processes.process_index,
                world=processes.num_processes,
                ordered_map=partial(read_ahead, workers=job.workers),
            )
        processes.wait_for_everyone()
    cache = FeatureCache(folder)
    cache.check(
        seed=CROP_SEED,
        scale=recipe.crop_scale,
        size=SIZE,
        teacher_sha256=identity,
        views=recipe.views,
        images=data.images,
        photos=data.identity,
    )
    return cache


@contextmanager
def _exact() -> Iterator[None]:
    """Make features in full float32, however the training around them multiplies."""
    before = torch.get_float32_matmul_precision()
    exact_engine()
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _asked(target: Target, device: torch.device, precision: str) -> Callable[[np.ndarray], Tensor]:
    """Return a target as a teacher of crops uint8 [B, 3, S, S]."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def teacher(crops: np.ndarray) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
            return target(normalise(crops, device))

    return teacher
