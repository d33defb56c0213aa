"""One real step of SAMI-Ti with SAM ViT-B (random weights) as teacher: `one_step.py PHOTOS TOGETHER ALONE`.

Two photos make the step, each a micro-batch: one after the other in one process, or one in each of two.
Process 0 leaves, in a folder for each, the gradients that the optimiser saw, the loss and how far the weights moved.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import save_file

from bench.data.images import read_rgb
from bench.data.training.crops import CropBatches
from models.sam.build import sam_vit_b
from models.sam.image_encoder import ImageEncoder
from models.sami.build import masked_autoencoder
from models.sami.network import MaskedAutoencoder
from models.sami.targets import sam_target
from models.training import loop, optimizers
from models.training.masked import masked_stage
from models.training.recipes import SAMI_PAPER
from tests.torchrun import launch


class Photos:
    """The first photos of a folder of classes."""

    def __init__(self, root: Path, count: int) -> None:
        self.paths = sorted(root.glob("*/*"))[:count]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return read_rgb(self.paths[index])


class Watched(torch.optim.AdamW):
    """AdamW that keeps the gradients of its step."""

    seen: list[torch.Tensor]

    def step(self, closure: Any = None) -> Any:
        Watched.seen = [p.grad.clone() for group in self.param_groups for p in group["params"]]
        return super().step(closure)


def step(photos: Path, out: Path, network: MaskedAutoencoder, teacher: ImageEncoder) -> None:
    processes = PartialState(cpu=True)
    recipe = replace(
        SAMI_PAPER, steps=1, images_per_step=2, accumulate=2 // processes.num_processes, warmup_steps=0, precision="no"
    )
    before = [p.detach().clone() for p in network.parameters()]
    batches = CropBatches(Photos(photos, 2), size=224, images_per_batch=1, seed=0, scale=recipe.crop_scale)
    optimizers.AdamW = Watched  # type: ignore[misc]
    trained = loop.train(network, masked_stage(recipe, sam_target(teacher)), batches, recipe, out)
    if processes.is_main_process:
        save_file(
            {str(n): gradient.contiguous() for n, gradient in enumerate(Watched.seen)}, out / "gradients.safetensors"
        )
        moved = sum(float((a - b).abs().sum()) for a, b in zip(trained.parameters(), before, strict=True))
        line = json.loads((out / "log.jsonl").read_text())
        (out / "step.json").write_text(json.dumps({"loss": line["loss"], "moved": moved}))


if __name__ == "__main__":
    photos, together, alone = map(Path, sys.argv[1:])
    torch.manual_seed(0)
    networks = masked_autoencoder("ti", decoder=SAMI_PAPER.decoder, target_dim=256), sam_vit_b().image_encoder
    launch(2, step, photos, together, *networks)
    step(photos, alone, *networks)
