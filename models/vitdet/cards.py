"""The detectors of Table 2: one has public weights, four have micro stand-ins, the others have none.

`bench weights fetch` gets the public file, or a user passes another's path.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models import row_cards, zoo
from models.errors import BenchError
from models.row_cards import Registry, RowCard
from models.sami.build import MICRO_SIZES
from models.specs import is_spec
from models.vitdet.build import vitdet, vitdet_micro
from models.vitdet.checkpoint import read_detector
from models.vitdet.detector import Found, detect
from models.vitdet.network import VitDet


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorCard(RowCard):
    """One row of Table 2 at one scale."""

    table: str = "table2"
    size: str
    """Of its ViT, see `models.vitdet.build.SIZES`."""


class LoadedDetector:
    """A detector with its weights.

    Attributes:
        name: of its card.
        checkpoint_sha256: of the file its weights came from.
        custom: True if the file was named by the user, so that it may not be the card's.
        classes: how many kinds of objects it knows.
    """

    def __init__(self, card: DetectorCard, network: VitDet, *, checkpoint_sha256: str, custom: bool) -> None:
        self.name, self.checkpoint_sha256, self.custom = card.name, checkpoint_sha256, custom
        self.classes = network.classes
        self._network, self._device = network, next(network.parameters()).device

    def detect(self, photos: Sequence[np.ndarray]) -> list[Found]:
        """Find the objects of photos uint8 [H, W, 3] RGB, one by one, so that no answer depends on the batch.

        Raises:
            BenchError: if a score is NaN or infinite.
        """
        try:
            return [found for photo in photos for found in detect(self._network, [photo], device=self._device)]
        except BenchError as error:
            raise BenchError(f"model '{self.name}': {error}") from None


def build(found: DetectorCard) -> VitDet:
    """Return the untrained network of a card."""
    return vitdet(found.size) if found.scale == "paper" else vitdet_micro(MICRO_SIZES[found.size])


def _without(paper_row: str, why: str) -> DetectorCard:
    size = paper_row.rpartition("-")[2].lower()
    return DetectorCard(
        name=f"vitdet-{paper_row.lower()}",
        paper_row=paper_row,
        scale="paper",
        size=size,
        note=f"{why}; {_RECIPE}",
    )


def _micro(paper_row: str) -> DetectorCard:
    name, size = f"vitdet-{paper_row.lower()}-micro", paper_row.rpartition("-")[2].lower()
    return row_cards.micro_card(DetectorCard, name, paper_row, _MICRO_RECIPE, size=size, threads=1)


_RECIPE = (
    "a training here follows detectron2's mask_rcnn_vitdet_b in all sizes where the paper is silent (layer decay 0.7, "
    "weight decay on all but norms of the ViT and positions, drop path 0.1, zeros beside photos)"
)
_MICRO_RECIPE = (
    "trained with one learning rate for all blocks, weight decay on matrices alone and grey beside photos, unlike "
    "detectron2's ViTDet"
)
CONTROL = "vitdet-scratch-ti-micro"
_NEVER_RELEASED = "the paper's authors released neither pretrained encoder nor detector"
_BACKBONE_ONLY = "the pretrained backbone alone is public, and the printed number is that of finetuning it"
_FILE = "model_final_61ccd1.pkl"

CARDS: tuple[DetectorCard, ...] = (
    _without("MAE-Ti", _NEVER_RELEASED),
    _without("SAMI-Ti", _NEVER_RELEASED),
    _without("MAE-S", _NEVER_RELEASED),
    _without("DeiT-S", _BACKBONE_ONLY),
    _without("DINO-S", _BACKBONE_ONLY),
    _without("iBOT-S", _BACKBONE_ONLY),
    _without("SAMI-S", _NEVER_RELEASED),
    DetectorCard(
        name="vitdet-mae-b",
        paper_row="MAE-B",
        scale="paper",
        size="b",
        filename=_FILE,
        url=f"https://dl.fbaipublicfiles.com/detectron2/ViTDet/COCO/mask_rcnn_vitdet_b/f325346929/{_FILE}",
        digest=("md5", "61ccd1"),
        note="the printed numbers equal those of detectron2's mask_rcnn_vitdet_b, whose weights these are",
    ),
    _without("SAMI-B", _NEVER_RELEASED),
    *(_micro(row) for row in ("MAE-Ti", "SAMI-Ti", "MAE-S", "SAMI-S")),
    replace(
        _micro("scratch-Ti"),
        paper_row=CONTROL,
        note="trained without pretraining: a control that the paper has not",
    ),
)
"""Every row of Table 2, this project's stand-ins for four of them, and its control."""
_registry = Registry(
    module=__name__,
    what="detector",
    all=CARDS,
    read=read_detector,
    build=lambda found, state: build(found),
    model=LoadedDetector,
)
cards, card = _registry.cards, _registry.card
SPECS = ("masks",)
"""Prefixes of names PREFIX:REST (`models.specs`) that stand for a detector here."""


def available(name: str) -> tuple[bool, str]:
    """Return whether a model's own weights are here, and if not, why."""
    return zoo.available(name) if is_spec(name) else _registry.available(name)


def modules(name: str) -> Sequence[str]:
    """Return the names of the modules that make a model's predictions what they are."""
    return zoo.modules(name) if is_spec(name) else _registry.modules(name)


def load(
    name: str, checkpoint: str | Path | None = None, *, device: str = "cpu", trusted: Collection[str] = ()
) -> LoadedDetector:
    """Load a detector with its weights, see `models.row_cards.Registry.load`; masks:FILE is a `MasksFile`."""
    if is_spec(name):
        found: Any = zoo.load(name, checkpoint=checkpoint, device=device)
        return found  # type: ignore[no-any-return]
    return _registry.load(name, checkpoint, device=device, trusted=trusted)
