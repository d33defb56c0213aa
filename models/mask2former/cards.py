"""The models of Table 3: none of the paper's has public weights; micro models stand in for four of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import nn

from models import row_cards
from models.errors import BenchError
from models.mask2former.build import SIZES, mask2former, mask2former_micro
from models.mask2former.evaluate import areas, predict
from models.row_cards import Registry, RowCard
from models.sami.build import MICRO_SIZES


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationCard(RowCard):
    """One row of Table 3 at one scale."""

    table: str = "table3"
    build: Callable[[], nn.Module]
    """The untrained network."""


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
        self.network = network

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


def _micro(paper_row: str, size: str) -> SegmentationCard:
    build = partial(mask2former_micro, **MICRO_SIZES[size])
    name = f"mask2former-{paper_row.lower()}-micro"
    return row_cards.micro_card(SegmentationCard, name, paper_row, _MICRO_RECIPE, build=build)


CONTROL = "mask2former-scratch-ti-micro"


_RECIPE = (
    "a training here follows Mask2Former's own recipe where the paper is silent (backbone at 0.1 of the learning rate, "
    "no weight decay of norms and positions, gradients clipped to 0.01)"
)
_MICRO_RECIPE = (
    "trained without distorted colours, the backbone at 0.5 of the learning rate and with weight decay of its norms "
    "and positions, unlike Mask2Former"
)
_ROWS = ("MAE-Ti", "SAMI-Ti", "MAE-S", "SAMI-S", "MAE-B", "SAMI-B")
CARDS: tuple[SegmentationCard, ...] = (
    *(
        SegmentationCard(
            name=f"mask2former-{row.lower()}",
            paper_row=row,
            scale="paper",
            build=partial(mask2former, SIZES[row.partition("-")[2].lower()]),
            filename=None,
            note=f"the paper's authors released no segmentation model; no weights of this row are public; {_RECIPE}",
        )
        for row in _ROWS
    ),
    *(_micro(row, row.partition("-")[2].lower()) for row in _ROWS[:4]),
    replace(
        _micro("scratch-Ti", "ti"),
        paper_row=CONTROL,
        note="trained without pretraining: a control that the paper has not",
    ),
)
"""Every row of Table 3, this project's stand-ins, and its control."""
_registry = Registry(
    module=__name__,
    what="segmentation model",
    all=CARDS,
    build=lambda found, state: found.build(),
    model=LoadedMask2Former,
)
cards, card, available = _registry.cards, _registry.card, _registry.available
modules, load = _registry.modules, _registry.load
