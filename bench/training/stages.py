"""What each stage of training is given: the network, the module that is trained, its losses and its batches.

One function a stage, for both scales: what differs between them are the run's network, recipe and images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import nn

from bench.data.dead_leaves.fastsam import FastSamBatches
from bench.data.dead_leaves.salient import SalientBatches
from bench.data.training.classification import AugmentedBatches
from bench.data.training.crops import CropBatches
from bench.data.training.detection import DetectionBatches
from bench.data.training.semantic_crops import CropSettings, SemanticBatches
from bench.training.features import CROP_SEED, SIZE, source
from bench.training.job import Job, trained
from models.classifier.network import start_from_encoder as start_classifier
from models.mask2former.backbone import load_pretrained
from models.sami.encoder import into_efficientsam
from models.training.augment import augmentation
from models.training.classify import classify_stage
from models.training.detect import detect_stage
from models.training.distill import EncoderTrainer, distill_stage
from models.training.fastsam import fastsam_stage
from models.training.loop import Batches, Stage
from models.training.masked import masked_stage
from models.training.promptable import PromptableTrainer, promptable_stage
from models.training.recipes import (
    ClassifyRecipe,
    DetectRecipe,
    DistillRecipe,
    FastSamRecipe,
    MaskedRecipe,
    PromptableRecipe,
    SalientRecipe,
    SemanticRecipe,
)
from models.training.salient import salient_stage
from models.training.weight_init import start_from_cosines, start_from_waves
from models.vitdet.backbone import start_from_encoder as start_detector


class Parts(NamedTuple):
    """A training that is ready to run."""

    network: nn.Module
    """What is kept."""
    trainer: nn.Module
    """The module that is trained."""
    stage: Stage | None
    """Its losses; None where mmengine's Runner trains it."""
    batches: Batches
    """Of this process."""
    facts: Mapping[str, object] = {}
    """For the record."""


def parts(job: Job) -> Parts:
    """Return what the training loop is given for a job.

    Raises:
        BenchError: if the images of a step cannot be shared equally, or what it starts from does not fit.
    """
    return _STAGES[type(job.recipe)](job)


def _promptable(job: Job) -> Parts:
    recipe: PromptableRecipe = job.recipe
    network = job.build()
    if job.run.start:
        into_efficientsam(network.image_encoder, job.encoder())
    else:
        start_from_cosines(network.image_encoder.patch_embed.proj)
        start_from_waves(network.image_encoder.pos_embed)
    batches = _masks(job, network, recipe.masks_per_prompt * len(recipe.prompts))
    return Parts(network, PromptableTrainer(network), promptable_stage(recipe), batches)


def _distill(job: Job) -> Parts:
    network, teacher = job.build(), trained(job.options, str(job.run.teacher))
    network.prompt_encoder.load_state_dict(teacher.prompt_encoder.state_dict())
    network.mask_decoder.load_state_dict(teacher.mask_decoder.state_dict())
    return Parts(network, EncoderTrainer(network.image_encoder), distill_stage(teacher), _masks(job, network, 1))


def _masks(job: Job, network: Any, masks: int) -> Batches:
    assert job.data.masks is not None, "these images have masks"
    size, log = network.image_encoder.img_size, job.folder / "skipped.jsonl"
    batches: Batches = job.data.masks(images=job.images, masks=masks, size=size, seed=job.seed, log=log)
    return batches


def _masked(job: Job) -> Parts:
    recipe: MaskedRecipe = job.recipe
    made_by = source(job)
    network = job.build(decoder=recipe.decoder, target_dim=made_by.width)
    batches = _crops(job, views=recipe.views, features=made_by.features)
    return Parts(network, network, masked_stage(recipe, made_by.target), batches, made_by.facts)


def _classify(job: Job) -> Parts:
    recipe: ClassifyRecipe = job.recipe
    network = job.build(classes=job.data.classes, drop_path=recipe.drop_path)
    if job.run.start:
        start_classifier(network, job.encoder(), job.start)
    assert job.data.labels is not None, "these images have labels"
    batches: Batches = (
        _crops(job, labels=job.data.labels)
        if recipe.rand_augment is None
        else AugmentedBatches(
            job.data.photos,
            job.data.labels,
            augment=augmentation(recipe),
            images_per_batch=job.images,
            seed=recipe.seed,
        )
    )
    return Parts(network, network, classify_stage(recipe, job.data.classes), batches)


def _crops(job: Job, **rest: Any) -> CropBatches:
    """Return random crops and flips alone, the same for all seeds so that a teacher is asked about each once."""
    return CropBatches(
        job.data.photos,
        size=SIZE,
        images_per_batch=job.images,
        seed=job.seed,
        scale=job.recipe.crop_scale,
        crop_seed=CROP_SEED,
        **rest,
    )


def _detect(job: Job) -> Parts:
    recipe: DetectRecipe = job.recipe
    network = job.build(classes=job.data.classes, drop_path=recipe.drop_path)
    start_detector(network.backbone, job.encoder(), job.start)
    batches = DetectionBatches(
        job.data.photos,
        images=job.images,
        side=recipe.image_size,
        scale=recipe.jitter,
        padding=recipe.padding,
        seed=recipe.seed,
    )
    return Parts(network, network, detect_stage(), batches)


def _semantic(job: Job) -> Parts:
    recipe: SemanticRecipe = job.recipe
    network = job.build(classes=job.data.classes, crop=recipe.crop_size)
    load_pretrained(network.backbone, job.encoder(), name=job.start)
    batches = SemanticBatches(
        job.data.photos,
        CropSettings(size=recipe.crop_size, scales=recipe.scales, colours=recipe.colours),
        images_per_batch=job.images,
        seed=recipe.seed,
    )
    return Parts(network, network, None, batches)


def _fastsam(job: Job) -> Parts:
    network = job.build()
    batches = FastSamBatches(job.data.photos, images=job.images, seed=job.seed)
    return Parts(network, network, fastsam_stage(network, job.recipe), batches)


def _salient(job: Job) -> Parts:
    network = job.build()
    batches = SalientBatches(job.data.photos, images=job.images, seed=job.seed)
    return Parts(network, network, salient_stage(job.recipe), batches)


_STAGES: dict[type, Callable[[Job], Parts]] = {
    PromptableRecipe: _promptable,
    DistillRecipe: _distill,
    MaskedRecipe: _masked,
    ClassifyRecipe: _classify,
    DetectRecipe: _detect,
    SemanticRecipe: _semantic,
    FastSamRecipe: _fastsam,
    SalientRecipe: _salient,
}
