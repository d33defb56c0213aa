"""One training as it was asked for: its recipe, its images, and where its files and those it starts from are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn

from bench.training.data import Opened
from bench.training.options import Options, adapted, takes
from bench.training.runs import RUNS, TrainingRun
from models.cards import ModelCard
from models.checkpoints import read_state_dict, sha256_of
from models.errors import MissingData
from models.packaged import packaged_weights
from models.training.recipes import images_per_batch


@dataclass(frozen=True)
class Job:
    """A training that is about to run."""

    run: TrainingRun
    options: Options
    recipe: Any
    """The run's, for these options and images."""
    data: Opened
    processes: PartialState

    @property
    def name(self) -> str:
        """Of the run."""
        return self.run.name

    @property
    def seed(self) -> int:
        """Of everything that is random."""
        return self.options.seed

    @property
    def as_registered(self) -> bool:
        """Whether it is the run's own recipe, whose records and committed weights may be replaced."""
        return self.recipe == adapted(self.run, Options(seed=self.seed), images=self.data.images)

    @property
    def folder(self) -> Path:
        """Its checkpoints, log and final weights."""
        return folder_of(self.options, self.name, self.seed)

    @property
    def weights_file(self) -> Path:
        """Its final weights; how they were made is in the json beside them."""
        return self.folder / "weights.safetensors"

    @property
    def images(self) -> int:
        """Images of one micro-batch of one process.

        Raises:
            BenchError: if a step's images cannot be shared equally.
        """
        return images_per_batch(self.recipe, self.processes.num_processes)

    @property
    def workers(self) -> int:
        """Processes that read images."""
        return self.run.scale.workers if self.options.workers is None else self.options.workers

    def build(self, **told: Any) -> Any:
        """Build the untrained network, the same for the same seed."""
        torch.manual_seed(self.seed)
        return self.run.build(**told)

    @property
    def start(self) -> str:
        """What the encoder that it starts from is called in errors."""
        return f"'{self.options.encoder}'" if self.options.encoder else str(self.run.start)

    def encoder(self) -> dict[str, Tensor]:
        """Return the encoder that it starts from, in single precision.

        Raises:
            BenchError: if it is not there or cannot be read.
        """
        return read(start_file(self.run, self.options), self.start)

    def start_facts(self) -> dict[str, str]:
        """Return what a record says of the encoder, where it may be anyone's."""
        if not self.run.start or "encoder" not in takes(self.run):
            return {}
        return {"encoder_sha256": sha256_of(start_file(self.run, self.options))}


def prepare(run: TrainingRun, options: Options, processes: PartialState) -> Job:
    """Open a training's images, drawn by one process, and adapt its recipe to them.

    Raises:
        BenchError: if the images, the encoder that it starts from or an optional package is not there.
    """
    run.ready()
    if run.start:
        start_file(run, options)
    with processes.local_main_process_first():  # the others find the scenes drawn
        data = run.data.open(options.data)
    return Job(run, options, adapted(run, options, images=data.images), data, processes)


def folder_of(options: Options, name: str, seed: int = 0) -> Path:
    """Return the folder of a training."""
    return options.out / (name if seed == 0 else f"{name}-seed{seed}")


def start_file(run: TrainingRun, options: Options) -> Path:
    """Return the encoder that a training starts from.

    Raises:
        MissingData: if it is not there.
    """
    path = options.encoder or made(options, str(run.start), options.seed)
    if not path.is_file():
        raise MissingData(f"there is no encoder '{path}': check the path")
    return path


def made(options: Options, name: str, seed: int = 0) -> Path:
    """Return the weights that a training left, or the committed ones.

    Raises:
        MissingData: if there are none.
    """
    own, committed = folder_of(options, name, seed) / "weights.safetensors", packaged_weights(name, options.weights)
    for path in (own, committed) if seed == 0 else (own,):
        if path.is_file():
            return path
    ways = [f"run `python -m bench train {name}{f' --seed {seed}' if seed else ''}` first"] if name in RUNS else []
    ways += [] if name in RUNS and RUNS[name].scale.half else ["give --encoder"]
    raise MissingData(f"no weights of {name} at {own}: {', or '.join(ways)}")


def trained(options: Options, name: str) -> Any:
    """Return the network of another training with its weights, in evaluation mode."""
    network: nn.Module = RUNS[name].build()
    network.load_state_dict(read(made(options, name), name))
    return network.eval()


def read(path: Path, name: str) -> dict[str, Tensor]:
    """Read weights in single precision."""
    state = read_state_dict(path, ModelCard(name, name, "paper", "", None))
    return {entry: value.float() if value.is_floating_point() else value for entry, value in state.items()}
