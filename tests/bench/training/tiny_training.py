"""`bench train` with tiny recipes and data, as its own process so that it can be killed.

`tiny_training.py COMMAND ... then COMMAND ...` runs commands of the front door one after the other. What `--all` starts
is of the same size, one process each.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from bench import __main__ as front_door
from bench.data.dead_leaves import ade20k, crowded, detection, imagenet
from bench.training import all as group
from bench.training import data, records
from bench.training.runs import MICRO, RUNS
from models.mask2former import build as mask2former
from models.training import loop
from models.training.recipes import SemanticRecipe

TINY: dict[str, Any] = {"steps": 8, "images_per_step": 4, "warmup_steps": 2, "checkpoint_every": 3}
HELD_OUT = 32


def shrink() -> None:
    """Make every run eight steps of four images."""
    for name, run in RUNS.items():
        smaller = {"crop_size": 64} if isinstance(run.recipe, SemanticRecipe) else {}
        if run.scale is MICRO:
            RUNS[name] = replace(run, recipe=replace(run.recipe, **TINY, **smaller))
    data.SCENES = data.FINETUNE_SCENES = data.DETECTION_SCENES = data.SEMANTIC_SCENES = data.SALIENT_SCENES = 8
    data.UNLABELLED, data.OBJECTS, data.CLIP_OBJECTS = 16, 16, 8
    mask2former.mask2former_micro.__kwdefaults__["crop"] = 64
    records.FIGURE7_EPOCHS = (1.0, 4.0)
    records.VARIANCE_IMAGES = 8
    of_all_seeds = group.group_of
    group.group_of = lambda name: [(run, seed) for run, seed in of_all_seeds(name) if seed == 0]
    group._launcher = lambda processes: [sys.executable, __file__]
    crowded.VAL_IMAGES, crowded.WORLD_SHA256 = 12, TINY_SHA256
    imagenet.VAL_IMAGES, imagenet.IMAGENET_SHA256 = HELD_OUT, TINY_SHA256
    detection.VAL_IMAGES, detection.DETECTION_SHA256 = 3, TINY_SHA256
    ade20k.VAL_IMAGES, ade20k.ADE20K_SHA256 = 3, TINY_SHA256
    loop.LOG_EVERY = 1


TINY_SHA256 = "tiny"

if __name__ == "__main__":
    shrink()
    for world in (crowded, imagenet, detection, ade20k):
        world.check_published = lambda found, published: None  # fewer images than were published
    for command in " ".join(sys.argv[1:]).removeprefix("bench ").split(" then "):
        sys.argv = ["bench", *command.split()]
        front_door.main()
