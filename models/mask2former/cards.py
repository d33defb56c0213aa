"""The models of Table 3: nobody can have the paper's, this project's micro ones stand in for four of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from models import checkpoints
from models.cards import ModelCard
from models.errors import BenchError, unknown_name
from models.mask2former.build import TI, B, S, mask2former
from models.mask2former.evaluate import areas, predict
from models.training.micro import MICRO_RUNS

_PACKAGED = Path(__file__).resolve().parents[1] / "weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationCard:
    """One row of Table 3 at one scale."""

    name: str
    """What commands call it."""
    paper_row: str
    """Its row in Table 3."""
    scale: Literal["paper", "micro"]
    """Whether its number may stand beside the paper's."""
    build: Callable[[], nn.Module]
    """The untrained network."""
    filename: str | None
    """Checkpoint inside this package; None if nobody can have it."""
    why: str
    """What the row stands for, or why there are no weights."""


class LoadedMask2Former:
    """A Mask2Former with its weights.

    Attributes:
        name: of its card.
        checkpoint_sha256: of the file its weights came from.
        custom: True if the file was named by the user.
        network: in evaluation mode.
    """

    def __init__(self, card: SegmentationCard, network: nn.Module, *, checkpoint_sha256: str, custom: bool) -> None:
        self.name, self.checkpoint_sha256, self.custom = card.name, checkpoint_sha256, custom
        self.network = network.eval()

    def areas(self, photo: np.ndarray, truth: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Segment a photo uint8 [H, W, 3] and return areas of intersection and union, int64 [classes] px each.

        Args:
            photo: of any size.
            truth: class of each pixel, uint8 [H, W], 255 where nothing is known.
            classes: of the data set.

        Raises:
            BenchError: if the model knows another number of classes, or a logit is NaN or infinite.
        """
        known = self.network.sizes.classes  # type: ignore[union-attr]
        if known != classes:
            raise BenchError(
                f"model '{self.name}' knows {known} classes but the data set has {classes}: take a model that was "
                "trained on it"
            )
        try:
            return areas(predict(self.network, photo), truth, classes)
        except BenchError as error:
            raise BenchError(f"model '{self.name}': {error}") from None


def load(name: str, checkpoint: str | Path | None = None, *, device: str = "cpu") -> LoadedMask2Former:
    """Load a model with its weights.

    Args:
        name: of a card.
        checkpoint: file to use instead of the packaged one: safetensors, or a torch file of tensors alone.
        device: as torch names it.

    Raises:
        BenchError: if the name is unknown, nobody can have its weights, the file is missing, damaged or of another
            model, or mmsegmentation cannot be used.
    """
    found = card(name)
    path = _path(found) if checkpoint is None else Path(checkpoint).expanduser()
    if not path.is_file():
        raise _missing(found, path)
    file_card = ModelCard(found.name, found.paper_row, found.scale, "", found.filename)
    state = checkpoints.read_state_dict(path, file_card)
    network = found.build()
    checkpoints.fill(network, state, card=file_card, path=path)
    try:
        network.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise BenchError(f"device '{device}' cannot be used here ({reason}): use cpu, or a torch for it") from error
    digest = checkpoints.sha256_of(path)
    if checkpoint is None:
        _check_digest(path, digest)
    return LoadedMask2Former(found, network, checkpoint_sha256=digest, custom=checkpoint is not None)


def available(name: str) -> tuple[bool, str]:
    """Return whether a model's own weights are here, and if not, why."""
    found = card(name)
    try:
        path = _path(found)
    except BenchError as error:
        return False, str(error)
    return (True, "") if path.is_file() else (False, str(_missing(found, path)))


def card(name: str) -> SegmentationCard:
    """Return the card of a model.

    Raises:
        BenchError: if there is no such model; it names the nearest one.
    """
    cards = {one.name: one for one in CARDS}
    if name not in cards:
        raise unknown_name("segmentation model", name, cards)
    return cards[name]


def _path(found: SegmentationCard) -> Path:
    if found.filename is None:
        raise BenchError(f"there are no weights of '{found.name}': {found.why}; train it and pass its checkpoint")
    return _PACKAGED / found.filename


def _missing(found: SegmentationCard, path: Path) -> BenchError:
    if found.filename is None or path.name != found.filename:
        return BenchError(f"there is no checkpoint '{path}' for model '{found.name}': check the path")
    return BenchError(f"'{found.name}' is not trained yet: train it with `nox -s reproduce_table3 -- --train`")


def _check_digest(path: Path, digest: str) -> None:
    """Raise if packaged weights are not those that the json beside them tells of."""
    record = path.with_suffix(".json")
    wanted = json.loads(record.read_text(encoding="utf-8"))["sha256"] if record.is_file() else digest
    if wanted != digest:
        raise BenchError(f"'{path}' is not the file that {record.name} tells of: restore both from git")


def _micro(paper_row: str) -> SegmentationCard:
    name = f"mask2former-{paper_row.lower()}-micro"
    return SegmentationCard(
        name=name,
        paper_row=paper_row,
        scale="micro",
        build=MICRO_RUNS[name].build,
        filename=f"{name}.safetensors",
        why="micro encoder, trained on dead leaves: stands in for the pipeline, never for the paper's number",
    )


_SIZES = {"Ti": TI, "S": S, "B": B}
_ROWS = ("MAE-Ti", "SAMI-Ti", "MAE-S", "SAMI-S", "MAE-B", "SAMI-B")
CARDS: tuple[SegmentationCard, ...] = (
    *(
        SegmentationCard(
            name=f"mask2former-{row.lower()}",
            paper_row=row,
            scale="paper",
            build=partial(mask2former, _SIZES[row.partition("-")[2]]),
            filename=None,
            why="the paper's authors released no segmentation model, and no weights of this row are public",
        )
        for row in _ROWS
    ),
    *(_micro(row) for row in _ROWS[:4]),
)
"""Every row of Table 3, and this project's stand-ins."""
