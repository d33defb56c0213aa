"""`bench train ... --dry-run`: what trainings cost, counted without data, weights or GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from accelerate import PartialState
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from bench.data.dead_leaves.fastsam import MASK_STRIDE
from bench.data.training.feature_cache import disk_need
from bench.training.features import SIZE, teacher_target
from bench.training.options import Options, adapted
from bench.training.runs import RUNS, TrainingRun
from models import zoo
from models.cards import resolve
from models.fastsam.yolo import MICRO_SIZE
from models.mask2former.train import as_samples
from models.sami.targets import CLIP, Target, pixel_target, token_target
from models.training.classify import classify_stage
from models.training.distill import EncoderTrainer, distill_stage
from models.training.fastsam import fastsam_stage
from models.training.flops import student_flops, teacher_flops
from models.training.loop import Stage
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
from models.vitdet.network import BOX_CELLS, MASK_CELLS


def dry_run(run: TrainingRun, options: Options) -> None:
    """Print the cost of a training and of its teacher's features."""
    images = run.data.open(options.data).images if options.data else run.data.images
    target = _target(run, options)
    recipe = adapted(run, options, images=images)
    counted = _counted(run, recipe, target)
    found = estimate(recipe, counted.student, counted.teacher, images=images)
    table = Table(title=f"{run.name}: what training costs", box=None, show_header=False, title_justify="left")
    rows = {
        "data": f"{run.data.name}, {images:,} images",
        "steps": f"{recipe.steps:,}",
        "epochs": f"{found.samples / images:,.1f}",
        "images the student sees": f"{found.samples:,}",
        "parameters": f"{counted.parameters / 1e6:,.1f} M",
        "student, forward and backward": f"{counted.student / 1e9:,.1f} GFLOP an image",
    }
    if target and found.teacher_images:
        rows["teacher, forward"] = f"{counted.teacher / 1e9:,.1f} GFLOP an image"
        rows["images the teacher sees"] = f"{found.teacher_images:,}"
        rows["target"] = f"{target.name} \\[{TOKENS}, {target.width}]"
        views = recipe.views or 1
        need = disk_need(images, views, TOKENS, target.width)
        rows[f"disk for its features of {views} view{'s' if views > 1 else ''}"] = f"{need / 1e9:,.3g} GB"
    flops = found.student_flops + found.teacher_flops
    rows["in all"] = f"{flops:.3g} FLOP"
    one, peak = "GPU" if run.scale.tflops > 1 else "core", options.gpu_tflops or run.scale.tflops
    hours = hours_of(flops, peak * options.utilisation)
    processes = options.gpus or PartialState(cpu=not torch.cuda.is_available()).num_processes
    rows[f"{one} hours"] = f"{hours:,.1f}"
    rows[f"hours on {processes} {one}(s)"] = f"{hours / processes:,.1f}"
    rows["assumed"] = f"{peak:g} TFLOP/s x {options.utilisation:.0%} utilisation a {one}"
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)


def dry_run_all(title: str, todo: Mapping[str, Any], options: Options) -> None:
    """Print the cost of many micro trainings: a line for each, a teacher's features on a line of their own.

    Args:
        title: of the table.
        todo: commands (with `arguments`) by name, as `bench.training.all.tasks` lists them.
        options: the hardware assumed.
    """
    table = Table("training", "steps", "samples", "FLOP", "core hours", title=title, box=None, title_justify="left")
    peak, processes = options.gpu_tflops or RUNS["sam-micro"].scale.tflops, options.gpus or 2
    all_samples, all_flops, all_hours = 0, 0.0, 0.0
    for name, one in todo.items():
        steps, samples, flops = _line(one.arguments, options)
        hours = hours_of(flops, peak * options.utilisation)
        table.add_row(name, f"{steps:,}", f"{samples:,}", f"{flops:.3g}", f"{hours:,.2f}")
        all_samples, all_flops, all_hours = all_samples + samples, all_flops + flops, all_hours + hours
    table.add_section()
    table.add_row("in all", "", f"{all_samples:,}", f"{all_flops:.3g}", f"{all_hours:,.2f}")
    assumed = f"{peak:g} TFLOP/s x {options.utilisation:.0%} utilisation a core"
    table.caption = f"{all_hours / processes:,.1f} hours on {processes} cores; assumed: {assumed}"
    Console().print(table)


def _line(arguments: Sequence[str], options: Options) -> tuple[int, int, float]:
    """Return (steps, samples, FLOP) of one command; features that are kept count where they are made."""
    trains = arguments[0] == "train"
    teaching = (run for run in RUNS.values() if run.teacher == arguments[-1] and isinstance(run.recipe, MaskedRecipe))
    run = RUNS[arguments[1]] if trains else next(teaching)
    recipe = adapted(run, options, images=run.data.images)
    counted = _counted(run, recipe, _target(run, options))
    found = estimate(recipe, counted.student, counted.teacher, images=run.data.images)
    if trains:
        return recipe.steps, found.samples, found.student_flops
    return 0, found.teacher_images, found.teacher_flops


class Estimate(NamedTuple):
    """What a training computes."""

    samples: int
    """Images that the student sees."""
    teacher_images: int
    """Images that the teacher sees: fewer than the student where its features are cached."""
    student_flops: float
    """Of the whole run, forward and backward."""
    teacher_flops: float
    """Of the whole run, forward."""


def estimate(recipe: Any, student: int, teacher: int, *, images: int) -> Estimate:
    """Return what a recipe computes.

    Args:
        recipe: its steps and images a step, and the crops whose features are made once, if they are kept.
        student: operations of one image, see `student_flops`.
        teacher: operations of one image, see `teacher_flops`; 0 without a teacher.
        images: in the data set.
    """
    samples = recipe.steps * recipe.images_per_step
    views = recipe.views if isinstance(recipe, MaskedRecipe) else None
    teacher_images = 0 if not teacher else samples if views is None else images * views
    return Estimate(samples, teacher_images, float(student) * samples, float(teacher) * teacher_images)


def hours_of(flops: float, tflops: float) -> float:
    """Return the hours that one GPU takes at 1e12 `tflops` a second, as if reading and communication cost nothing."""
    return flops / (tflops * 1e12) / 3600


class _Counted(NamedTuple):
    parameters: int
    """Of the network that is trained, in pretraining with its decoder."""
    student: int
    """Operations of one image, forward and backward."""
    teacher: int
    """Likewise, forward; 0 without a teacher."""


def _counted(run: TrainingRun, recipe: Any, target: Target | None) -> _Counted:
    example = _EXAMPLES[type(recipe)](run, recipe, target)
    return _Counted(
        sum(p.numel() for p in example.network.parameters()),
        student_flops(example.trainer, example.stage, example.batch),
        teacher_flops(target, SIZE) if target and run.teacher else 0,
    )


def _target(run: TrainingRun, options: Options) -> Target | None:
    """Return a pretraining's target without weights, on the meta device; None for other stages."""
    if not isinstance(run.recipe, MaskedRecipe):
        return None
    teacher = options.teacher or run.teacher
    if teacher is None:
        return pixel_target(norm=run.recipe.norm_pixels)
    if teacher == "clip":
        return token_target(timm.create_model(CLIP, pretrained=False, num_classes=0).to("meta"), CLIP)
    return teacher_target(teacher, options, lambda name: _untrained(name).to("meta").eval())


def _untrained(name: str) -> Any:
    return RUNS[name].build() if name in RUNS else resolve(zoo.card(name).build)()


class _Example(NamedTuple):
    """One training step, whose operations are counted."""

    network: nn.Module
    trainer: nn.Module
    stage: Stage
    batch: Any


def _promptable(run: TrainingRun, recipe: PromptableRecipe, target: object) -> _Example:
    network: Any = run.build().to(run.scale.counted_on)
    side, masks = network.image_encoder.img_size, recipe.masks_per_prompt * len(recipe.prompts)
    batch = {"images": _images(1, side), "masks": np.ones((1, masks, side, side), bool)}
    return _Example(network, PromptableTrainer(network), promptable_stage(recipe), batch)


def _distill(run: TrainingRun, recipe: DistillRecipe, target: object) -> _Example:
    network: Any = run.build().to(run.scale.counted_on)
    stage = distill_stage(_untrained(str(run.teacher)).to(run.scale.counted_on))
    return _Example(
        network, EncoderTrainer(network.image_encoder), stage, {"images": _images(1, network.image_encoder.img_size)}
    )


def _masked(run: TrainingRun, recipe: MaskedRecipe, target: Target) -> _Example:
    width = target.width
    network = run.build(decoder=recipe.decoder, target_dim=width).to(run.scale.counted_on)
    batch = {"images": _images(1, SIZE), "features": np.zeros((1, TOKENS, width), np.float16)}
    return _Example(network, network, masked_stage(recipe, None), batch)


def _classify(run: TrainingRun, recipe: ClassifyRecipe, target: object) -> _Example:
    network = run.build(classes=run.data.classes, drop_path=recipe.drop_path).to(run.scale.counted_on)
    batch = {"images": _images(2, SIZE), "labels": np.zeros(2, np.int64)}  # two, since images are mixed in pairs
    return _Example(network, network, classify_stage(recipe, run.data.classes), batch)


def _detect(run: TrainingRun, recipe: DetectRecipe, target: object) -> _Example:
    network = run.build(classes=run.data.classes, drop_path=recipe.drop_path).to(run.scale.counted_on)
    return _Example(network, network, _detector_layers, {"images": _images(1, recipe.image_size)})


def _detector_layers(network: Any, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
    """Run all layers of a detector on as many boxes as training samples; which boxes depends on numbers, not here."""
    device = next(network.parameters()).device
    features = network.features(torch.zeros(batch["images"].shape, device=device))
    heads, channels = network.roi_heads, features["p2"].shape[1]
    boxes = heads.fg_bg_sampler.batch_size_per_image
    inside = round(boxes * heads.fg_bg_sampler.positive_fraction)
    found, cut = (
        torch.zeros(count, channels, side, side, device=device, requires_grad=True)
        for count, side in ((boxes, BOX_CELLS), (inside, MASK_CELLS))
    )
    scores, deltas = network.rpn.head(list(features.values()))
    answers = [
        *scores,
        *deltas,
        *heads.box_predictor(heads.box_head(found)),
        heads.mask_predictor(heads.mask_head(cut)),
    ]
    return {"loss": torch.stack([one.sum() for one in answers]).sum()}


def _semantic(run: TrainingRun, recipe: SemanticRecipe, target: object) -> _Example:
    network = run.build(classes=run.data.classes, crop=recipe.crop_size)
    side, seen = recipe.crop_size, min(7, run.data.classes)
    batch = {"images": _images(1, side), "classes": np.arange(side * side).reshape(1, side, side) * seen // side**2}
    return _Example(network, network, _mask2former_losses, batch)


def _mask2former_losses(network: Any, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
    given = network.data_preprocessor(as_samples(batch), True)
    losses, _ = network.parse_losses(network(**given, mode="loss"))
    return {"loss": losses}


def _fastsam(run: TrainingRun, recipe: FastSamRecipe, target: object) -> _Example:
    network = run.build()
    objects = {"image": np.zeros(8, np.int64), "boxes": np.full((8, 4), 0.5, np.float32)}
    masks = np.ones((8, MICRO_SIZE // MASK_STRIDE, MICRO_SIZE // MASK_STRIDE), np.float32)
    batch = {"images": _images(1, MICRO_SIZE), **objects, "masks": masks}
    return _Example(network, network, fastsam_stage(network, recipe), batch)


def _salient(run: TrainingRun, recipe: SalientRecipe, target: object) -> _Example:
    network, side = run.build(), recipe.side
    batch = {"images": _images(1, side), "masks": np.ones((1, side, side), bool)}
    return _Example(network, network, salient_stage(recipe), batch)


def _images(count: int, side: int) -> np.ndarray:
    return np.zeros((count, 3, side, side), np.uint8)


_EXAMPLES: dict[type, Callable[[TrainingRun, Any, Any], _Example]] = {
    PromptableRecipe: _promptable,
    DistillRecipe: _distill,
    MaskedRecipe: _masked,
    ClassifyRecipe: _classify,
    DetectRecipe: _detect,
    SemanticRecipe: _semantic,
    FastSamRecipe: _fastsam,
    SalientRecipe: _salient,
}
TOKENS = (SIZE // 16) ** 2
"""Patches of a crop."""
