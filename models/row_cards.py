"""Cards of tables whose rows are models of one task: which have public weights, and where these are found.

Published files are in the weights folder, where `bench weights fetch` puts them, or a user passes another's path. The
weights of micro models are inside this package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor, nn

from models import checkpoints
from models.cards import ModelCard
from models.errors import BenchError, unknown_name
from models.files.hashes import hash_file
from models.packaged import PACKAGED

SHA256_DIGITS = 64
MICRO_NOTE = "pretrained and finetuned on dead leaves: stands in for the pipeline, never for the paper's number"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCard:
    """One row of a table at one scale."""

    name: str
    """What commands call it."""
    paper_row: str
    """Its row in the table."""
    scale: Literal["paper", "micro"]
    """Whether its number may stand beside the paper's."""
    table: str
    """The table."""
    filename: str | None = None
    """Checkpoint in the weights folder, or in this package for a micro model; None if nobody can have it."""
    url: str | None = None
    """Where it was published."""
    digest: tuple[str, str] | None = None
    """Hash algorithm and how the published file's hash begins, as far as its authors say."""
    bytes: int | None = None
    """Size of the published file, None if its authors do not say."""
    licence: str = "not stated"
    """Of the published file."""
    threads: int | None = None
    """CPU threads that are fastest, None for all there are."""
    note: str = ""
    """Which number of the authors the row is compared with, or why there are no weights."""

    @property
    def released(self) -> bool:
        """Whether anyone can have its weights."""
        return self.filename is not None

    @property
    def file_card(self) -> ModelCard:
        """Return the card of its file: what errors say of it, and where it is downloaded from."""
        algorithm, start = self.digest or ("", "")
        return ModelCard(
            self.name,
            self.paper_row,
            self.scale,
            build="",
            filename=self.filename,
            url=self.url,
            bytes=self.bytes,
            sha256=start if (algorithm, len(start)) == ("sha256", SHA256_DIGITS) else None,
            licence=self.licence,
        )


AnyCard = TypeVar("AnyCard", bound=RowCard)
AnyModel = TypeVar("AnyModel")


def micro_card(kind: Callable[..., AnyCard], name: str, paper_row: str, recipe: str = "", **own: Any) -> AnyCard:
    """Return the card of a stand-in whose weights are in this package.

    Args:
        kind: of card.
        name: of the model.
        paper_row: that it stands in for.
        recipe: how its training departs from the published one.
        own: other fields.
    """
    note = f"{MICRO_NOTE}; {recipe}" if recipe else MICRO_NOTE
    return kind(name=name, paper_row=paper_row, scale="micro", filename=f"{name}.safetensors", note=note, **own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry(Generic[AnyCard, AnyModel]):
    """The cards of one module and how their models are made: what a table asks of it."""

    module: str
    """Its name."""
    what: str
    """What one of its models is called."""
    all: tuple[AnyCard, ...]
    read: Callable[[Path, ModelCard], dict[str, Tensor]] = checkpoints.read_state_dict
    """Reads a checkpoint."""
    build: Callable[[AnyCard, Mapping[str, Tensor]], nn.Module]
    """Makes the untrained network that such entries fit."""
    model: Callable[..., AnyModel]
    """Made of a card and its network on its device, and told `checkpoint_sha256` and whether it is `custom`."""

    def cards(self) -> Sequence[AnyCard]:
        """Return all cards, in the order of the table."""
        return self.all

    def card(self, name: str) -> AnyCard:
        """Return the card of a model.

        Raises:
            BenchError: if there is no such model; it names the nearest one.
        """
        by_name = {one.name: one for one in self.all}
        if name not in by_name:
            raise unknown_name(self.what, name, by_name)
        return by_name[name]

    def available(self, name: str) -> tuple[bool, str]:
        """Return whether a model's own weights are here, and if not, why."""
        return available(self.card(name))

    def load(
        self, name: str, checkpoint: str | Path | None = None, *, device: str = "cpu", trusted: Collection[str] = ()
    ) -> AnyModel:
        """Load a model with its weights.

        Args:
            name: of a card.
            checkpoint: file to use instead of the card's: safetensors, a torch file of tensors alone, or, for
                detectors, detectron2's .pkl.
            device: as torch names it.
            trusted: nothing, since reading such a file runs no code.

        Raises:
            BenchError: if the name is unknown, nobody can have its weights, the file is missing, damaged or of another
                model, or a package that the network needs cannot be used.
        """
        found = self.card(name)
        path = checkpoint_file(found, checkpoint)
        state = self.read(path, found.file_card)
        network = self.build(found, state)
        checkpoints.fill(network, state, card=found.file_card, path=path)
        to_device(network, device)
        digest = checkpoints.sha256_of(path)
        return self.model(found, network.eval(), checkpoint_sha256=digest, custom=checkpoint is not None)

    def modules(self, name: str) -> tuple[str, ...]:
        """Return the names of the modules that make a model's predictions what they are."""
        return (self.module,)


def checkpoint_file(card: RowCard, checkpoint: str | Path | None = None) -> Path:
    """Return the file to load: the user's own, or the card's if it is there and begins its hash as its authors say.

    Raises:
        BenchError: if it is not there, nobody can have it, or it is another one.
    """
    if checkpoint is not None:
        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise BenchError(f"there is no checkpoint '{path}' for model '{card.name}': check the path")
        return path
    if card.filename is None:
        raise BenchError(
            f"there are no weights of '{card.name}': {card.note}; train it and pass its checkpoint, or quote the paper"
        )
    micro = card.scale == "micro"
    path = (PACKAGED if micro else checkpoints.weights_root()) / card.filename
    if not path.is_file():
        if card.url is None:
            raise BenchError(
                f"'{card.name}' is not trained yet: train it with `nox -s reproduce_{card.table} -- --train`"
            )
        raise checkpoints.missing(card.file_card, path)
    _check_digest(card, path)
    return path


def available(card: RowCard) -> tuple[bool, str]:
    """Return whether a card's own weights are here, and if not, why."""
    try:
        checkpoint_file(card)
    except BenchError as error:
        return False, str(error)
    return True, ""


def to_device(network: nn.Module, device: str) -> None:
    """Move a network.

    Raises:
        BenchError: if torch does not know or does not have the device.
    """
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise BenchError(f"device '{device}' cannot be used here ({reason}): use cpu, or a torch for it") from error


def _check_digest(card: RowCard, path: Path) -> None:
    """Raise if a file's hash does not begin as published, or as the json beside packaged weights says."""
    record = path.with_suffix(".json")
    if card.scale == "micro":
        wanted = json.loads(record.read_text(encoding="utf-8"))["sha256"] if record.is_file() else None
        if wanted not in (None, checkpoints.sha256_of(path)):
            raise BenchError(f"'{path}' is not the file that {record.name} tells of: restore both from git")
        return
    if card.digest is None:
        return
    algorithm, start = card.digest
    digest = checkpoints.sha256_of(path) if algorithm == "sha256" else hash_file(path, algorithm)
    if not digest.startswith(start):
        raise BenchError(
            f"'{path}' is not the published checkpoint of '{card.name}', its {algorithm} begins with "
            f"{digest[: len(start)]} instead of {start}: pass its path to use it as a custom one, or move it away and "
            f"run `bench weights fetch {card.name}`"
        )
