"""What each stage of micro training needs: the module that is trained, its losses and its dead leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from bench.data.dead_leaves.detection import detection_scenes
from bench.data.dead_leaves.fastsam import EverythingBatches
from bench.data.dead_leaves.imagenet import labelled_images, unlabelled_images
from bench.data.dead_leaves.training import MaskBatches, training_scenes
from bench.data.training.crops import CropBatches
from bench.data.training.detection import DetectionBatches
from bench.data.training.feature_cache import FeatureCache, write_features
from models.checkpoints import sha256_of
from models.errors import BenchError
from models.sami.encoder import into_efficientsam
from models.sami.targets import Target, pixel_target, sam_target, token_target
from models.training.classify import classify_stage
from models.training.detect import detect_stage
from models.training.distill import EncoderTrainer, distill_stage
from models.training.fastsam import everything_stage
from models.training.loop import Batches, Stage
from models.training.masked import masked_stage
from models.training.micro import CLASSES, MICRO_RUNS, MicroRun
from models.training.promptable import PromptableTrainer, normalise, promptable_stage
from models.training.recipes import (
    FINETUNE_SCENES,
    SAMI_MICRO,
    ClassifyRecipe,
    DetectRecipe,
    DistillRecipe,
    EverythingRecipe,
    MaskedRecipe,
    PromptableRecipe,
    images_per_batch,
)
from models.training.weight_init import start_from_cosines, start_from_waves
from models.vitdet.backbone import start_from_encoder

WEIGHTS = Path(__file__).resolve().parents[2] / "models" / "weights"
"""Committed weights."""
SCENES = 6000
"""Dead leaves that micro SAM and FastSAM are trained on, and MobileSAM distilled."""
OBJECTS, CLIP_OBJECTS = 6000, 3000
"""Images of dead leaves as ImageNet: as many for pretraining as for finetuning, and those for CLIP's stand-in alone."""
DETECTION_SCENES = 2000
"""Dead leaves that micro detectors are trained on."""
CROP_SIZE = 224


@dataclass(frozen=True)
class Job:
    """A run of a seed, and where its files are."""

    name: str
    run: MicroRun
    seed: int
    out: Path
    """Folder of all runs."""
    weights: Path
    """Folder of committed weights."""

    @property
    def folder(self) -> Path:
        """Its checkpoints, log and final weights."""
        return self.out / (self.name if self.seed == 0 else f"{self.name}-seed{self.seed}")

    @property
    def weights_file(self) -> Path:
        """Its final weights; how they were made is in the json beside them."""
        return self.folder / "weights.safetensors"

    @property
    def recipe(self) -> Any:
        """With its seed."""
        return replace(self.run.recipe, seed=self.seed)

    def made(self, name: str, *, seed: int = 0) -> Path:
        """Return the weights another run left, or the committed ones.

        Raises:
            BenchError: if there are none.
        """
        own = replace(self, name=name, seed=seed).weights_file
        committed = self.weights / f"{name}.safetensors"
        for path in (own, committed) if seed == 0 else (own,):
            if path.is_file():
                return path
        with_seed = f" --seed {seed}" if seed else ""
        raise BenchError(f"no weights of {name} at {own}: run `python -m bench train {name}{with_seed}` first")


Parts = tuple[nn.Module, Stage, Batches]
"""The module that is trained, the stage's losses, the batches of this process."""


def parts(job: Job, network: nn.Module, *, processes: int) -> Parts:
    """Return what the training loop is given for a job.

    Raises:
        BenchError: if the images of a step cannot be shared equally, or another run must come first.
    """
    return STAGES[type(job.recipe)](job, network, images_per_batch(job.recipe, processes))


def _promptable(job: Job, network: Any, images: int) -> Parts:
    recipe: PromptableRecipe = job.recipe
    if job.run.start:
        into_efficientsam(network.image_encoder, load_file(job.made(job.run.start)))
    else:
        start_from_cosines(network.image_encoder.patch_embed.proj)
        start_from_waves(network.image_encoder.pos_embed)
    scenes = training_scenes(SCENES)
    if job.run.start:
        scenes = scenes.first(FINETUNE_SCENES)
    masks = recipe.masks_per_prompt * len(recipe.prompts)
    batches = MaskBatches(scenes, images=images, masks=masks, seed=recipe.seed)
    return PromptableTrainer(network), promptable_stage(recipe), batches


def _distill(job: Job, network: Any, images: int) -> Parts:
    teacher = _trained(job, str(job.run.teacher))
    network.prompt_encoder.load_state_dict(teacher.prompt_encoder.state_dict())
    network.mask_decoder.load_state_dict(teacher.mask_decoder.state_dict())
    batches = MaskBatches(training_scenes(SCENES), images=images, masks=1, seed=job.seed)
    return EncoderTrainer(network.image_encoder), distill_stage(teacher), batches


def _masked(job: Job, network: Any, images: int) -> Parts:
    recipe: MaskedRecipe = job.recipe
    cached = None
    if job.run.teacher:
        folder = features_folder(job, job.run.teacher)
        if not folder.exists():
            raise BenchError(
                f"no features of {job.run.teacher} at {folder}: run `python -m bench micro-features "
                f"{job.run.teacher}` first"
            )
        cached = FeatureCache(folder)
        cached.check(
            seed=FEATURE_SEED,
            scale=recipe.crop_scale,
            size=CROP_SIZE,
            teacher_sha256=sha256_of(job.made(job.run.teacher)),
        )
    target = pixel_target(norm=recipe.norm_pixels) if recipe.target == "pixels" else None
    batches = _crop_batches(unlabelled_images(OBJECTS), images, recipe, views=recipe.views, features=cached)
    return network, masked_stage(recipe, target), batches


def _classify(job: Job, network: Any, images: int) -> Parts:
    recipe: ClassifyRecipe = job.recipe
    if job.run.start:
        log = replace(job, name=job.run.start).folder / "log.jsonl"
        if not log.is_file():
            with_seed = f" --seed {job.seed}" if job.seed else ""
            raise BenchError(
                f"no log of {job.run.start} at {log}, which the record of this run holds too: run "
                f"`python -m bench train {job.run.start}{with_seed}` first"
            )
        state = _float(load_file(job.made(job.run.start, seed=job.seed)))
        own = network.state_dict()
        taken = {name: value for name, value in state.items() if name in own}
        if {name for name in own if not name.startswith(("head.", "fc_norm."))} - set(taken):
            raise BenchError(f"the encoder of {job.run.start} does not fit {job.name}: train it again")
        network.load_state_dict({**own, **taken})
    scenes = labelled_images(OBJECTS + CLIP_OBJECTS)
    its_own = slice(OBJECTS) if job.run.start else slice(OBJECTS, None)
    batches = _crop_batches(scenes.images[its_own], images, recipe, labels=scenes.labels[its_own])
    return network, classify_stage(recipe, CLASSES), batches


def _detect(job: Job, network: Any, images: int) -> Parts:
    recipe: DetectRecipe = job.recipe
    start = str(job.run.start)
    start_from_encoder(network.backbone, _float(load_file(job.made(start))), start)
    batches = DetectionBatches(
        detection_scenes(DETECTION_SCENES),
        images=images,
        side=recipe.image_size,
        scale=recipe.jitter,
        padding=recipe.padding,
        seed=recipe.seed,
    )
    return network, detect_stage(), batches


def _everything(job: Job, network: Any, images: int) -> Parts:
    batches = EverythingBatches(training_scenes(SCENES), images=images, seed=job.seed)
    return network, everything_stage(network, job.recipe), batches


STAGES: dict[type, Callable[[Job, Any, int], Parts]] = {
    PromptableRecipe: _promptable,
    DistillRecipe: _distill,
    MaskedRecipe: _masked,
    ClassifyRecipe: _classify,
    DetectRecipe: _detect,
    EverythingRecipe: _everything,
}


def _crop_batches(photos: Any, images: int, recipe: MaskedRecipe | ClassifyRecipe, **rest: Any) -> CropBatches:
    return CropBatches(
        photos,
        size=CROP_SIZE,
        images_per_batch=images,
        seed=recipe.seed,
        scale=recipe.crop_scale,
        crop_seed=FEATURE_SEED,
        **rest,
    )


FEATURE_SEED = 0
"""Of the crops, which runs of all seeds share so that a teacher is asked once."""


def features_folder(job: Job, teacher: str) -> Path:
    """Return where a teacher's features are cached."""
    return job.out / f"features-{teacher}"


def make_features(job: Job, teacher: str) -> None:
    """Let a teacher see every crop of pretraining once, and keep what it says."""
    network = _trained(job, teacher)
    target = sam_target(network.image_encoder, size=CROP_SIZE) if teacher == "sam-micro" else _tokens(network, teacher)
    write_features(
        unlabelled_images(OBJECTS),  # type: ignore[arg-type]
        lambda pixels: target(normalise(pixels, torch.device("cpu"))),
        features_folder(job, teacher),
        views=int(SAMI_MICRO.views or 1),
        seed=FEATURE_SEED,
        scale=SAMI_MICRO.crop_scale,
        size=CROP_SIZE,
        batch=16,
        teacher_sha256=sha256_of(job.made(teacher)),
    )


def _tokens(network: nn.Module, name: str) -> Target:
    network.pretrained_cfg = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}  # type: ignore[assignment]
    return token_target(network, name)


def _trained(job: Job, name: str) -> Any:
    network = MICRO_RUNS[name].build()
    network.load_state_dict(_float(load_file(job.made(name))))
    return network.eval()


def _float(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
