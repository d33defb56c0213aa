"""Settings of `bench pretrain`, and the paper's recipe adapted to them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from models import zoo
from models.errors import BenchError, unknown_name
from models.sami.targets import Input, Layer
from models.training.recipes import IMAGENET_IMAGES, MAE_PAPER, SAMI_PAPER, MaskedRecipe

SIZE = 224
"""Side of a crop, px (section 4.1)."""
Precision = Literal["no", "bf16", "fp16"]


class Pretraining(NamedTuple):
    """One model that can be pretrained."""

    size: str
    """ViT-Tiny, -Small or -Base."""
    recipe: MaskedRecipe
    """Of the paper."""
    teacher: str
    """Whose features are reconstructed, "none" for pixels."""


PRETRAININGS = {
    f"{kind}-{size}": Pretraining(size, recipe, teacher)
    for kind, recipe, teacher in (("sami", SAMI_PAPER, "sam-vit-h"), ("mae", MAE_PAPER, "none"))
    for size in ("ti", "s", "b")
}


@dataclass(frozen=True)
class Options:
    """Settings of a pretraining; the defaults are the paper's."""

    data: Path | None = None
    """Folder of photos, subfolders included; $BENCH_DATA/imagenet/train if not given."""
    teacher: str | None = None
    """A SAM of `bench list`, clip, or none; the paper's (sam-vit-h, none for mae) if not given."""
    teacher_input: Input = "224"
    """How the teacher sees a crop: as it is, or enlarged to 1024 px with its features averaged over the patches
    (23 times the cost). Our choice, paper silent."""
    teacher_layer: Layer = "neck"
    """SAM's features after its neck (256 wide) or before it. Our choice, paper silent."""
    features: Path | None = None
    """Folder of the teacher's features: written first if they are not there, then read instead of asking the
    teacher again and again. Photos are then seen in --views crops only."""
    views: int = 1
    """Crops of each photo, with --features."""
    dry_run: bool = False
    """Print what it costs and stop; needs neither data nor weights."""
    steps: int | None = None
    """Instead of 400 epochs; a tenth of them warm up."""
    images_per_step: int | None = None
    """Instead of 4096; the learning rate follows in proportion, as in the paper."""
    accumulate: int = 1
    """Parts in which each process does its share of a step, to save memory."""
    precision: Precision | None = None
    """Instead of the recipe's bf16."""
    seed: int = 0
    """Of initialisation, order, crops and masks."""
    tracker: Literal["tensorboard", "wandb", "none"] = "none"
    """Where losses are shown while it trains; they are in log.jsonl at any rate."""
    workers: int = 8
    """Processes that read photos, for each training process."""
    out: Path = Path("training")
    """Folder of checkpoints, logs and the finished encoder."""
    gpus: int | None = None
    """For --dry-run: GPUs that share the work."""
    gpu_tflops: float = 312.0
    """For --dry-run: what the data sheet of one GPU promises; 312 is an A100 in bf16."""
    utilisation: float = 0.4
    """For --dry-run: the share of that which training achieves."""


def adapt(recipe: MaskedRecipe, teacher: str, options: Options, *, images: int) -> MaskedRecipe:
    """Return the paper's recipe for a data set of so many images and for the options given.

    Epochs stay the same, and so does the learning rate of an image (section 4.1: 1.5e-4 x batch / 256).
    """
    batch = options.images_per_step or recipe.images_per_step
    epochs, warmup = (
        round(count * recipe.images_per_step / IMAGENET_IMAGES) for count in (recipe.steps, recipe.warmup_steps)
    )
    steps = options.steps or max(1, epochs * images // batch)
    return replace(
        recipe,
        steps=steps,
        warmup_steps=steps // 10 if options.steps else warmup * images // batch,
        images_per_step=batch,
        learning_rate=recipe.learning_rate * batch / recipe.images_per_step,
        accumulate=options.accumulate,
        precision=options.precision or recipe.precision,
        seed=options.seed,
        target="pixels" if teacher == "none" else "clip" if teacher == "clip" else "sam",
        views=options.views if options.features else None,
    )


def chosen_pretraining(model: str, options: Options) -> Pretraining:
    """Return what a name and the options ask for, its teacher being the one that is asked for.

    Raises:
        BenchError: if there is no such model, it has no use for the teacher or its features, a number is too small,
            or the tracker is not installed.
    """
    if model not in PRETRAININGS:
        raise unknown_name("pretraining", model, PRETRAININGS)
    chosen = PRETRAININGS[model]
    teacher = options.teacher or chosen.teacher
    if (teacher == "none") != (chosen.teacher == "none"):
        way = "leave out --teacher" if chosen.teacher == "none" else f"take mae-{chosen.size} to reconstruct pixels"
        raise BenchError(f"'{model}' cannot be pretrained with teacher '{teacher}': {way}")
    if teacher == "none" and options.features:
        raise BenchError(f"'{model}' reconstructs pixels, which no teacher makes: leave out --features")
    if teacher not in ("none", "clip"):
        zoo.card(teacher)
    for name, value, least in (
        ("steps", options.steps, 1),
        ("images-per-step", options.images_per_step, 1),
        ("accumulate", options.accumulate, 1),
        ("views", options.views, 1),
        ("gpus", options.gpus, 1),
        ("workers", options.workers, 0),
    ):
        if value is not None and value < least:
            raise BenchError(f"--{name} must be at least {least}, got {value}")
    check_tracker(options.tracker)
    return chosen._replace(teacher=teacher)


def check_tracker(tracker: str) -> None:
    """Raise if a tracker is wanted that is not installed."""
    if tracker != "none" and importlib.util.find_spec(tracker) is None:
        raise BenchError(f"--tracker {tracker} needs a package: pip install {tracker}")
