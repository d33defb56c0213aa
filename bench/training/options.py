"""What a training can be told, what of it means something to which one, and its recipe adapted to that."""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from bench.training.runs import TrainingRun
from models import zoo
from models.errors import BenchError
from models.sami.targets import Input, Layer
from models.training.recipes import MaskedRecipe, Recipe, SemanticRecipe

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of a training; the defaults are the recipe's, at paper scale the paper's."""

    steps: int | None = None
    """Instead of the recipe's; the warm-up shrinks in proportion."""
    images_per_step: int | None = None
    """Instead of the recipe's; learning rates follow in proportion, as in the paper."""
    accumulate: int = 1
    """Parts in which each process does its share of a step, to save memory."""
    precision: Literal["no", "bf16", "fp16"] | None = None
    """Instead of the recipe's: bf16 at paper scale."""
    seed: int = 0
    """Of initialisation, order, augmentation, masks and prompts."""
    workers: int | None = None
    """Processes that read images, for each training process; 8 at paper scale if not given, none at micro scale."""
    tracker: Literal["tensorboard", "wandb", "none"] = "none"
    """Where losses are shown while it trains; they are in log.jsonl at any rate."""
    out: Path = Path("training")
    """Folder of checkpoints, logs and weights of all trainings."""
    data: Path | None = None
    """To pretrain, any folder of photos; otherwise the folder of sa1b/ (tars as published, or unpacked), imagenet/,
    coco/ and ade20k/. $BENCH_DATA if not given."""
    encoder: Path | None = None
    """Encoder to start from, as a pretraining leaves it, or a public file of MAE, DeiT, DINO, iBOT or BEiT;
    <out>/<pretraining>/weights.safetensors if not given."""
    teacher: str | None = None
    """A SAM of `bench list`, or clip; the paper's sam-vit-h if not given."""
    teacher_input: Input = "224"
    """How the teacher sees a crop: as it is, or enlarged to 1024 px with its features averaged over the patches
    (23 times the cost). Our choice, paper silent."""
    teacher_layer: Layer = "neck"
    """SAM's features after its neck (256 wide) or before it. Our choice, paper silent."""
    features: Path | None = None
    """Folder of the teacher's features: written first if they are not there, then read instead of asking the
    teacher again and again. Photos are then seen in --views crops only."""
    views: int | None = None
    """Crops of each photo, with --features; 1 if not given."""
    weights: Path = ROOT / "models" / "weights"
    """Folder of the committed weights."""
    records: Path = ROOT / "protocols" / "records"
    """Folder of the committed records of ablations, of Figure 7 and of answers."""
    export_only: bool = False
    """Write the weights of the newest checkpoint without training on."""
    dry_run: bool = False
    """Print what it costs and stop; needs neither data nor weights nor a GPU."""
    gpus: int | None = None
    """For --dry-run: GPUs, at micro scale cores, that share the work."""
    gpu_tflops: float | None = None
    """For --dry-run: what one of them can do at best, 1e12 operations a second; 312 if not given, an A100's data
    sheet in bf16, and at micro scale 0.1, a core with AVX-512."""
    utilisation: float = 0.4
    """For --dry-run: the share of that which training achieves."""


OF_DRY_RUNS = frozenset({"dry_run", "gpus", "gpu_tflops", "utilisation"})
OF_ALL = frozenset({"out", "weights", "records"}) | OF_DRY_RUNS
"""Of `--all`."""
_EVERYWHERE = OF_DRY_RUNS | {
    "steps",
    "images_per_step",
    "accumulate",
    "precision",
    "seed",
    "workers",
    "out",
    "export_only",
}
_OF_TEACHERS = frozenset({"teacher", "teacher_input", "teacher_layer", "features", "views"})


def takes(run: TrainingRun) -> frozenset[str]:
    """Return the names of the options that mean something to a training."""
    unused = set() if run.start else {"encoder"}
    unused |= set() if isinstance(run.recipe, MaskedRecipe) and run.teacher else _OF_TEACHERS
    found = _EVERYWHERE | (run.scale.options - unused)
    return found - {"accumulate"} if isinstance(run.recipe, SemanticRecipe) else found | {"tracker"}


def check(name: str, options: Options, taken: frozenset[str]) -> None:
    """Raise if an option means nothing to a training, a number is too small, or the tracker is not installed."""
    wanted = {one.name: getattr(options, one.name) for one in fields(Options) if one.name in changed(options)}
    if strangers := [option for option in wanted if option not in taken]:
        flags = ", ".join(map(flag, sorted(taken)))
        raise BenchError(f"{flag(strangers[0])} means nothing to {name}: leave it out, it takes {flags}")
    if not options.dry_run and (alone := sorted(OF_DRY_RUNS & wanted.keys())):
        raise BenchError(f"{flag(alone[0])} says what --dry-run counts with: add --dry-run, or leave it out")
    for option, value in wanted.items():
        least = 0 if option in ("seed", "workers") else 1
        if isinstance(value, int) and value < least:
            raise BenchError(f"{flag(option)} must be at least {least}, got {value}")
        if isinstance(value, float) and not value > 0:
            raise BenchError(f"{flag(option)} must be above 0, got {value}")
    if options.tracker != "none" and importlib.util.find_spec(options.tracker) is None:
        raise BenchError(f"--tracker {options.tracker} needs a package: pip install {options.tracker}")
    if options.views and not options.features:
        raise BenchError("--views counts the crops that features are kept of: add --features, or leave it out")
    if options.teacher == "none":
        raise BenchError(f"'{name}' imitates a teacher: take {name.replace('sami', 'mae')} to reconstruct pixels")
    if options.teacher not in (None, "clip"):
        zoo.card(options.teacher)


def flag(option: str) -> str:
    """Return an option as it is typed."""
    return f"--{option.replace('_', '-')}"


def changed(options: Options) -> list[str]:
    """Return the names of the options that are not the default."""
    return [one.name for one in fields(Options) if getattr(options, one.name) != one.default]


def command(run: TrainingRun, options: Options, processes: int = 1) -> str:
    """Return the command that makes a training's weights, without where files are and what changes no weight."""
    launcher = "python -m bench" if processes == 1 else f"torchrun --nproc_per_node {processes} -m bench"
    told = [name for name in changed(options) if name not in OF_ALL | {"tracker", "workers", "export_only"}]
    return shlex.join(
        [*f"{launcher} train {run.name}".split(), *(w for n in told for w in (flag(n), str(getattr(options, n))))]
    )


def adapted(run: TrainingRun, options: Options, *, images: int) -> Any:
    """Return a training's recipe for the options given and the images that are there.

    Where the recipe counts epochs of published images these stay the same, and so does the learning rate of an image
    (section 4.1: 1.5e-4 x batch / 256).
    """
    recipe: Recipe = run.recipe
    batch = options.images_per_step or recipe.images_per_step
    share, steps, muon = batch / recipe.images_per_step, options.steps or recipe.steps, recipe.muon_learning_rate
    as_published = (images, batch) == (run.data.images, recipe.images_per_step)
    if run.data.epochs and not options.steps and not as_published:
        epochs = round(recipe.steps * recipe.images_per_step / run.data.images)
        steps = max(1, epochs * images // batch)
    recipe = replace(
        recipe,
        steps=steps,
        warmup_steps=steps * recipe.warmup_steps // max(1, recipe.steps),
        images_per_step=batch,
        learning_rate=recipe.learning_rate * share,
        muon_learning_rate=None if muon is None else muon * share,
        accumulate=options.accumulate,
        precision=options.precision or recipe.precision,
        seed=options.seed,
    )
    if isinstance(recipe, MaskedRecipe):
        target = recipe.target if options.teacher is None else "clip" if options.teacher == "clip" else "sam"
        recipe = replace(recipe, target=target, views=(options.views or 1) if options.features else recipe.views)
    return recipe
