"""The `semantic` stage of micro training: Mask2Former on dead leaves as ADE20K, trained by mmengine's Runner."""

from __future__ import annotations

from typing import Any

from safetensors.torch import load_file
from torch import nn

from bench.cli.micro_runs import Job
from bench.data.dead_leaves.ade20k import TRAINING_SEED, labelled_scenes
from bench.data.training.semantic_crops import CropSettings, SemanticBatches
from bench.progress import progress
from models.errors import BenchError
from models.mask2former.backbone import load_pretrained
from models.mask2former.resume import load_weights, semantic_steps_done
from models.mask2former.train import train_semantic
from models.training.recipes import SemanticRecipe

SEMANTIC_SCENES = 1800
"""Dead leaves that micro Mask2Former is trained on, two epochs."""


def trained_mask2former(job: Job, network: nn.Module, *, processes: int, train_on: bool) -> nn.Module:
    """Start from the job's pretrained encoder, train to the end of its recipe and return the network.

    Args:
        job: a run with a `SemanticRecipe`.
        network: as the run builds it.
        processes: of this training.
        train_on: False loads the newest checkpoint and stops there.

    Raises:
        BenchError: if the encoder is missing or of another size, or there are several processes.
    """
    if processes > 1:
        raise BenchError(f"{job.name} is trained by one process, got {processes}: start it without torchrun")
    recipe: SemanticRecipe = job.recipe
    if not train_on:
        load_weights(network, job.folder)
        return network.eval()
    backbone: Any = network.backbone
    load_pretrained(backbone, load_file(job.made(str(job.run.start))), name=str(job.run.start))
    batches = SemanticBatches(
        labelled_scenes(SEMANTIC_SCENES),
        CropSettings(size=recipe.crop_size, scales=recipe.scales, colours=recipe.colours),
        images_per_batch=recipe.images_per_step,
        seed=recipe.seed,
    )
    done = semantic_steps_done(job.folder)
    with progress(job.name, total=recipe.steps, unit="steps", done=done) as advance:
        return train_semantic(network, batches, recipe, job.folder, advance=advance)


def semantic_data() -> dict[str, Any]:
    """Say which dead leaves the stage sees."""
    return {"world": "dead leaves as ADE20K", "seed": TRAINING_SEED, "images": SEMANTIC_SCENES}
