"""Settings of `bench pretrain`, and the paper's recipe adapted to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bench.cli.training_options import TrainingOptions, adapted, check
from models import zoo
from models.errors import BenchError, unknown_name
from models.sami.targets import Input, Layer
from models.training.recipes import IMAGENET_IMAGES, MAE_PAPER, SAMI_PAPER, MaskedRecipe

SIZE = 224
"""Side of a crop, px (section 4.1)."""


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


@dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
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
    return replace(
        adapted(recipe, options, images=images, published=IMAGENET_IMAGES),
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
    check(options, views=options.views, gpus=options.gpus)
    return chosen._replace(teacher=teacher)
