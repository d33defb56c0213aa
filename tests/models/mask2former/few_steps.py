"""Three steps of a toy Mask2Former in two processes: `few_steps.py OUT`; each process saves its weights."""

from __future__ import annotations

import sys
from pathlib import Path

from accelerate import PartialState
from safetensors.torch import save_file

from models.mask2former.train import train_semantic
from tests.models.mask2former.toys import toy_batches, toy_network, toy_photos, toy_recipe
from tests.torchrun import launch


class Noted:
    """Batches that keep which numbers they were asked for."""

    def __init__(self, batches: object) -> None:
        self.batches, self.asked = batches, []

    def __getitem__(self, number: int) -> object:
        self.asked.append(number)
        return self.batches[number]


def train(out: Path) -> None:
    processes = PartialState(cpu=True)
    recipe = toy_recipe(steps=3)
    batches = Noted(toy_batches(toy_photos(), recipe))
    network = train_semantic(toy_network(), batches, recipe, out)
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, out / f"process{processes.process_index}.safetensors")
    (out / f"process{processes.process_index}.txt").write_text(" ".join(map(str, batches.asked)))


if __name__ == "__main__":
    launch(2, train, Path(sys.argv[1]))
