"""The detectors that boxes come from, on either engine: those of Table 2, and the cascades behind Table 5.

The engine torchvision is `models.vitdet.network`; the engine detectron2 is `models.vitdet.d2`, which alone has
cascades. `bench weights fetch` gets the authors' files, or a user passes another's path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from models import checkpoints, row_cards
from models.errors import BenchError, unknown_name
from models.row_cards import RowCard
from models.vitdet import cards as detectors
from models.vitdet.build import vitdet
from models.vitdet.cards import DetectorCard, LoadedDetector
from models.vitdet.d2.package import need_detectron2
from models.vitdet.detector import Found
from models.vitdet.network import VitDet

Engine = Literal["auto", "torchvision", "detectron2"]
"""auto: torchvision where it can."""
DataSet = Literal["coco", "lvis"]
LIMITS: dict[str, dict[str, Any]] = {
    "coco": {"classes": 80, "score_threshold": 0.05, "detections": 100},
    "lvis": {"classes": 1203, "score_threshold": 0.02, "detections": 300},
}
"""Of the published files, by the data set they were trained on (detectron2, projects/ViTDet/configs)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeCard(RowCard):
    """A published cascade ViTDet."""

    table: str = "table5"
    size: str
    """Of its ViT, see `models.vitdet.build.SIZES`."""
    data: DataSet
    """What it was trained on."""


class Detectron2Detector:
    """A detector with its weights on detectron2's parts.

    Attributes:
        name: of its card, with the engine.
        checkpoint_sha256: of the file its weights came from.
        custom: True if the file was named by the user, so that it may not be the card's.
        classes: how many kinds of objects it knows.
    """

    def __init__(
        self, name: str, network: torch.nn.Module, *, classes: int, checkpoint_sha256: str, custom: bool
    ) -> None:
        self.name, self.classes = name, classes
        self.checkpoint_sha256, self.custom = checkpoint_sha256, custom
        self._network = network

    def detect(self, photos: Sequence[np.ndarray]) -> list[Found]:
        """Find the objects of photos uint8 [H, W, 3] RGB, one by one, so that no answer depends on the batch.

        Raises:
            BenchError: if a score is NaN or infinite.
        """
        from models.vitdet.d2.detector import detect  # needs detectron2

        try:
            return [found for photo in photos for found in detect(self._network, [photo])]
        except BenchError as error:
            raise BenchError(f"model '{self.name}': {error}") from None


def load(
    name: str,
    data: DataSet,
    checkpoint: str | Path | None = None,
    *,
    engine: Engine = "auto",
    device: str = "cpu",
) -> LoadedDetector | Detectron2Detector:
    """Load a detector with its weights.

    Args:
        name: of the model, see `CASCADES` and `models.vitdet.cards.CARDS`.
        data: what it is asked about, since a cascade has one file for each.
        checkpoint: file to use instead of the card's: safetensors, a torch file of tensors alone (detectron2's .pth
            too), or detectron2's .pkl.
        engine: see `Engine`.
        device: as torch names it.

    Raises:
        BenchError: if the name is unknown, the engine is missing or has no such model, or the file is missing,
            damaged or of another model.
    """
    found = card(name, data)
    cascade = isinstance(found, CascadeCard)
    if engine == "detectron2" or (engine == "auto" and cascade):
        return _load_detectron2(found, checkpoint, device)
    if cascade:
        raise BenchError(f"'{name}' is a cascade, which the engine torchvision does not have: use --engine detectron2")
    return detectors.load(name, checkpoint, device=device)


def card(name: str, data: DataSet) -> CascadeCard | DetectorCard:
    """Return the card of a detector.

    Raises:
        BenchError: if there is no such detector; it names the nearest one.
    """
    cascades = {one.name: one for one in CASCADES if one.data == data}
    others = {one.name: one for one in detectors.CARDS}
    if name not in cascades and name not in others:
        raise unknown_name("detector", name, {**cascades, **others})
    return cascades.get(name) or others[name]


def network_of(found: CascadeCard | DetectorCard) -> VitDet:
    """Return our network of a card on torch's meta device, as far as we have it: without the cascade."""
    with torch.device("meta"):
        if isinstance(found, DetectorCard):
            return detectors.build(found)
        return vitdet(found.size, **LIMITS[found.data])


def _load_detectron2(
    found: CascadeCard | DetectorCard, checkpoint: str | Path | None, device: str
) -> Detectron2Detector:
    version = need_detectron2()
    from models.vitdet.d2.detector import load_network
    from models.vitdet.d2.model import model_config

    path = row_cards.checkpoint_file(found, checkpoint)
    ours = network_of(found)
    config = model_config(
        ours,
        cascade=isinstance(found, CascadeCard),
        sigmoid=isinstance(found, CascadeCard) and found.data == "lvis",  # for its federated loss
    )
    network = load_network(config, path, found.file_card)
    row_cards.to_device(network, device)
    return Detectron2Detector(
        f"{found.name} (detectron2 {version})",
        network,
        classes=ours.classes,
        checkpoint_sha256=checkpoints.sha256_of(path),
        custom=checkpoint is not None,
    )


def _cascade(size: str, data: DataSet, run: str, digest: str, ap: str) -> CascadeCard:
    file = f"model_final_{digest}.pkl"
    return CascadeCard(
        name=f"vitdet-{size}",
        paper_row=f"ViTDet-{size.upper()}",
        scale="paper",
        size=size,
        data=data,
        filename=file,
        url=f"https://dl.fbaipublicfiles.com/detectron2/ViTDet/{data.upper()}/cascade_mask_rcnn_vitdet_{size}/{run}/{file}",
        digest=("md5", digest),
        note=f"its authors print box and mask AP of {ap} on {data.upper()}",
    )


CASCADES: tuple[CascadeCard, ...] = (
    _cascade("b", "coco", "f325358525", "435fa9", "54.0 and 46.7"),
    _cascade("l", "coco", "f328021305", "1a9f28", "57.6 and 50.0"),
    _cascade("h", "coco", "f328730692", "f05665", "58.7 and 51.0"),
    _cascade("b", "lvis", "329226874", "df306f", "43.0 and 38.9"),
    _cascade("l", "lvis", "329042206", "3e81c2", "49.2 and 44.5"),
    _cascade("h", "lvis", "332552778", "11bbb7", "51.5 and 46.6"),
)
"""detectron2's model zoo, projects/ViTDet; a file's name ends with the beginning of its md5."""
