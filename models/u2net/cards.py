"""The networks that find salient objects: U²-Net, U²-Net-p, and the micro one that stands in for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor, nn

from models.cards import resolve
from models.errors import BenchError
from models.row_cards import Registry, RowCard, micro_card
from models.u2net.maps import SIDE, saliency_map
from models.u2net.network import U2Net, u2netp

ROW = "U2-Net"
"""Their row in table `salient`."""
MICRO_SIDE = 64
"""Of the micro network's input, px."""
_DRIVE = "https://drive.usercontent.google.com/download?confirm=t&id="


@dataclass(frozen=True, slots=True, kw_only=True)
class SaliencyCard(RowCard):
    """One network."""

    table: str = "salient"
    build: str
    """Makes the untrained network: "module:function"."""
    side: int = SIDE
    """Of its input, px."""
    licence: str = "Apache-2.0"
    source: str = "U²-Net, arXiv 2005.09007"
    """Whose weights these are."""


class LoadedSaliency:
    """A network with its weights.

    Attributes:
        name: of its card.
        checkpoint_sha256: of the file its weights came from.
        custom: True if the file was named by the user, so that it may not be the card's.
        network: in evaluation mode.
    """

    def __init__(self, card: SaliencyCard, network: nn.Module, *, checkpoint_sha256: str, custom: bool) -> None:
        self.name, self.checkpoint_sha256, self.custom = card.name, checkpoint_sha256, custom
        self.network, self._side = network, card.side

    def saliency(self, image: np.ndarray) -> np.ndarray:
        """Return the saliency map of a photo uint8 [H, W, 3]: uint8 [H, W], 255 the most salient.

        Raises:
            BenchError: if the network's answer is not finite.
        """
        try:
            return saliency_map(self.network, image, self._side)
        except BenchError as error:
            raise BenchError(f"model '{self.name}': {error}") from None


def u2netp_micro() -> U2Net:
    """Build micro U²-Net-p, 0.15 M parameters."""
    return u2netp(middle=8, output=16)


def _build(found: SaliencyCard, state: Mapping[str, Tensor]) -> nn.Module:
    network: nn.Module = resolve(found.build)()
    return network


CARDS: tuple[SaliencyCard, ...] = (
    SaliencyCard(
        name="u2net",
        paper_row=ROW,
        scale="paper",
        build="models.u2net.network:u2net",
        filename="u2net.pth",
        url=f"{_DRIVE}1ao1ovG1Qtx4b7EoskHXmi2E9rp5CHLcZ",
        digest=("sha256", "10025a17f49cd3208afc342b589890e402ee63123d6f2d289a4a0903695cce58"),
        bytes=176_290_937,
    ),
    SaliencyCard(
        name="u2netp",
        paper_row="",
        scale="paper",
        build="models.u2net.network:u2netp",
        filename="u2netp.pth",
        url=f"{_DRIVE}1rbSTGKAE-MTxBYHd-51l2hMOQPT_7EPy",
        digest=("sha256", "e7567cde013fb64813973ce6e1ecc25a80c05c3ca7adbc5a54f3c3d90991b854"),
        bytes=4_683_258,
        note="U²-Net with few channels, 1.1 M parameters instead of 44 M",
    ),
    replace(
        micro_card(SaliencyCard, "u2netp-micro", ROW, build="models.u2net.cards:u2netp_micro", side=MICRO_SIDE),
        source="this project",
        note="U²-Net-p trained on dead leaves: stands in for the pipeline, never for a published number",
    ),
)
"""Every network, those of the paper's scale first."""
_registry = Registry(module=__name__, what="saliency network", all=CARDS, build=_build, model=LoadedSaliency)
cards, card, available = _registry.cards, _registry.card, _registry.available
modules, load = _registry.modules, _registry.load
