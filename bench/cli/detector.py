"""`bench train-detector MODEL`: a full-size ViTDet of Table 2 from a pretrained encoder, on COCO train2017."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from accelerate import PartialState
from safetensors.torch import save_file

from bench import paths
from bench.data.detection import CocoPhotos, DetectionBatches
from bench.data.instances import open_coco_train
from bench.progress import progress
from bench.provenance import provenance
from models import detectors
from models.cards import ModelCard
from models.checkpoints import read_state_dict, sha256_of
from models.engine import exact_engine
from models.errors import BenchError
from models.training.detect import detect_stage
from models.training.loop import plain_recipe, seconds_trained, steps_done, train
from models.training.prefetch import Prefetched
from models.training.recipes import DETECT_PAPER, DetectRecipe, images_per_batch
from models.vitdet.backbone import start_from_encoder
from models.vitdet.build import vitdet

Precision = Literal["no", "bf16", "fp16"]
WARMUP_SHARE = 0.1
"""Of the steps: 10 of 100 epochs (section 4.1)."""


def train_detector(
    model: tyro.conf.Positional[str],
    /,
    encoder: Path,
    data: Path | None = None,
    out: Path = Path("training"),
    steps: int | None = None,
    images_per_step: int | None = None,
    accumulate: int = 1,
    precision: Precision | None = None,
    workers: int = 8,
    seed: int = 0,
) -> None:
    """Finetune a ViTDet on COCO with the recipe of section 4.1; never run at that scale.

    Goes on from its newest checkpoint. `torchrun --nproc-per-node 8 -m bench train-detector ...` shares each step
    among eight GPUs. At the end writes <out>/<model>/weights.safetensors, which `bench run table2 --checkpoint
    MODEL=PATH` takes, and weights.json.

    Args:
        model: Row of Table 2: vitdet-sami-ti, vitdet-mae-b, vitdet-deit-s, ...
        encoder: Pretrained ViT: encoder.safetensors of `bench pretrain`, or a public file of MAE, DeiT, DINO or iBOT.
        data: Folder that holds coco/train2017 and coco/annotations; $BENCH_DATA if not given.
        out: Folder of checkpoints, logs and weights of all runs.
        steps: Instead of 100 epochs; a tenth of them warm up.
        images_per_step: Instead of 64.
        accumulate: Micro-batches a step, where memory is short.
        precision: Instead of bf16: no or fp16.
        workers: Processes that read photos, for each training process.
        seed: Of initialisation, data order and jitter.
    """
    card = detectors.card(model)
    if card.scale != "paper":
        raise BenchError(f"'{model}' is a micro model: run `python -m bench train {model}`")
    processes = PartialState(cpu=not torch.cuda.is_available())
    recipe = _adapted(steps, images_per_step, replace(DETECT_PAPER, accumulate=accumulate, seed=seed), precision)
    photos = CocoPhotos(open_coco_train(data or _root()))
    engine, made_with = exact_engine(), provenance()
    torch.manual_seed(recipe.seed)
    network = vitdet(card.size, classes=len(photos.category_ids), drop_path=recipe.drop_path)
    state = read_state_dict(encoder, ModelCard(model, card.paper_row, "paper", "", None))
    start_from_encoder(network.backbone, state, str(encoder))
    batches = Prefetched(
        DetectionBatches(
            photos,
            images=images_per_batch(recipe, processes.num_processes),
            side=recipe.image_size,
            scale=recipe.jitter,
            seed=recipe.seed,
        ),
        workers=workers,
        stride=processes.num_processes,
        stop=recipe.steps * recipe.accumulate * processes.num_processes,
    )
    folder = out / model
    run = partial(train, network, detect_stage(), batches, recipe, folder)
    if not processes.is_main_process:
        run()
        return
    print(f"{len(photos):,} photos; {photos.without_objects:,} without objects are kept out", file=sys.stderr)
    with progress(model, total=recipe.steps, unit="steps", done=steps_done(folder)) as advance:
        run(advance=advance)
    record: dict[str, Any] = {
        "model": model,
        "command": f"python -m bench {shlex.join(sys.argv[1:])}",
        "recipe": plain_recipe(recipe),
        "encoder_sha256": sha256_of(encoder),
        "photos": {"used": len(photos), "without_objects": photos.without_objects},
        "processes": processes.num_processes,
        "seconds": seconds_trained(folder),
        "engine": engine,
        "made_with": {key: made_with[key] for key in ("git", "versions", "hardware", "threads")},
    }
    weights = folder / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
    weights.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {weights}", file=sys.stderr)


def _adapted(
    steps: int | None, images_per_step: int | None, recipe: DetectRecipe, precision: Precision | None
) -> DetectRecipe:
    """Return the paper's recipe with what the user wants otherwise."""
    if precision is not None:
        recipe = replace(recipe, precision=precision)
    if images_per_step is not None:
        recipe = replace(recipe, images_per_step=images_per_step)
    if steps is not None:
        recipe = replace(recipe, steps=steps, warmup_steps=int(WARMUP_SHARE * steps))
    return recipe


def _root() -> Path:
    root = paths.data_root()
    if root is None:
        raise BenchError("BENCH_DATA is not set: set it to the folder that holds coco/train2017, or pass --data")
    return root
