"""`bench pretrain MODEL --dry-run`: what a pretraining costs, counted without data, weights or GPU."""

from __future__ import annotations

import timm
import torch
from accelerate import PartialState
from rich.console import Console
from rich.table import Table

from bench.cli.pretrain_options import SIZE, Options, Pretraining, adapt
from bench.data.photos import PhotoFolder
from bench.data.training.feature_cache import disk_need
from models import zoo
from models.cards import resolve
from models.sami.build import masked_autoencoder
from models.sami.targets import CLIP, Target, pixel_target, sam_target, token_target
from models.training.estimate import Estimate, estimate
from models.training.recipes import IMAGENET_IMAGES, MaskedRecipe


def dry_run(model: str, chosen: Pretraining, options: Options) -> None:
    """Print the cost of a pretraining and of its teacher's features."""
    images = len(PhotoFolder(options.data)) if options.data else IMAGENET_IMAGES
    recipe = adapt(chosen.recipe, chosen.teacher, options, images=images)
    target = _target(chosen.teacher, recipe, options)
    network = masked_autoencoder(chosen.size, recipe, target.width).to("meta")
    found = estimate(
        network,
        recipe,
        None if chosen.teacher == "none" else target,
        images=images,
        processes=options.gpus or PartialState(cpu=not torch.cuda.is_available()).num_processes,
        tflops=options.gpu_tflops * options.utilisation,
        cached_views=recipe.views,
    )
    table = cost_table(model, found, options)
    table.add_row("target", f"{target.name} \\[{network.encoder.tokens}, {target.width}]")
    if chosen.teacher != "none":
        views = recipe.views or 1
        need = disk_need(images, views, network.encoder.tokens, target.width)
        table.add_row(f"disk for its features of {views} view{'s' if views > 1 else ''}", f"{need / 1e9:,.3g} GB")
    Console().print(table)


def cost_table(model: str, found: Estimate, options: Options) -> Table:
    """Return a dry run's result for the terminal, with what it assumes."""
    table = Table(title=f"{model}: what pretraining costs", box=None, show_header=False, title_justify="left")
    for name, value in (
        ("steps", f"{found.steps:,}"),
        ("epochs", f"{found.epochs:,.1f}"),
        ("images the student sees", f"{found.samples:,}"),
        ("parameters, with the decoder", f"{found.parameters / 1e6:,.1f} M"),
        ("student, forward and backward", f"{found.student_flops_per_image / 1e9:,.1f} GFLOP an image"),
        ("teacher, forward", f"{found.teacher_flops_per_image / 1e9:,.1f} GFLOP an image"),
        ("images the teacher sees", f"{found.teacher_images:,}"),
        ("in all", f"{found.total_flops:.3g} FLOP"),
        ("GPU hours", f"{found.gpu_hours:,.1f}"),
        (f"hours on {found.processes} GPU(s)", f"{found.hours:,.1f}"),
        ("assumed", f"{options.gpu_tflops:g} TFLOP/s x {options.utilisation:.0%} utilisation a GPU"),
    ):
        table.add_row(name, value)
    return table


def _target(teacher: str, recipe: MaskedRecipe, options: Options) -> Target:
    """Return a target without weights, on the meta device."""
    if teacher == "none":
        return pixel_target(norm=recipe.norm_pixels)
    with torch.device("meta"):
        if teacher == "clip":
            return token_target(timm.create_model(CLIP, pretrained=False, num_classes=0), CLIP)
        encoder = resolve(zoo.card(teacher).build)().to("meta").image_encoder
        return sam_target(encoder, size=SIZE, input=options.teacher_input, layer=options.teacher_layer)
